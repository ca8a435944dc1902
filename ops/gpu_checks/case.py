"""One numerics case: shapes, patterns and inputs, as a line that makes it again."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from longwatch.kernels import Pattern, parse_pattern

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """Packed documents, one pattern a head group, and which inputs; `str` is JSON for `numerics.py --case`."""

    patterns: tuple[str, ...]
    lengths: tuple[int, ...]
    dtype: str = "bfloat16"
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    inputs: str = "normal"
    sink: bool = False
    lse_grad: bool = False
    deterministic: bool = True
    seed: int = 0

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Case":
        """What `str` wrote."""
        values = json.loads(text)
        return cls(**values | {name: tuple(values[name]) for name in ("patterns", "lengths")})

    @property
    def tokens(self) -> int:
        """Packed rows."""
        return sum(self.lengths)

    @property
    def bounds(self) -> list[int]:
        """cu_seqlens."""
        return [0, *np.cumsum(self.lengths, dtype=int).tolist()]

    @property
    def rules(self) -> list[Pattern]:
        """The patterns that the texts write."""
        return [parse_pattern(text) for text in self.patterns]

    @property
    def by_data(self) -> bool:
        """Whether topk chooses blocks."""
        return any(rule.data_chosen is not None for rule in self.rules)

    @property
    def scale(self) -> float:
        """1/sqrt(D)."""
        return float(self.width**-0.5)


@dataclass(frozen=True)
class Inputs:
    """On one device, packed, in the case's dtype; sink and lse_grad float32."""

    query: Tensor
    key: Tensor
    value: Tensor
    grad: Tensor
    sink: Tensor | None
    lse_grad: Tensor | None


def make_inputs(case: Case, device: str) -> Inputs:
    """From the case's seed, the same on every machine: drawn on the CPU."""
    generator = torch.Generator().manual_seed(case.seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    query = draw(case.tokens, case.heads, case.width)
    key, value = (draw(case.tokens, case.kv_heads, case.width) for _ in range(2))
    grad = draw(case.tokens, case.heads, case.width)
    query, key = _SHAPES[case.inputs](query, key)
    if case.inputs == "large" and case.dtype == "bfloat16":
        # In fp16 these gradients would pass the largest number.
        value, grad = value * 30, grad * 30
    dtype = DTYPES[case.dtype]
    query, key, value, grad = (tensor.to(device, dtype) for tensor in (query, key, value, grad))
    sink = draw(case.heads).to(dtype).float().to(device) if case.sink else None
    return Inputs(query, key, value, grad, sink, draw(case.tokens, case.heads).to(device) if case.lse_grad else None)


def _constant(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    # Every logit of a head is the same.
    return query[:1].expand_as(query), key[:1].expand_as(key)


def _huge(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    # Every 37th key towers over the others for half of the queries, and is nothing to the other half.
    key = key.clone()
    key[::37] = 12 * key[::37].sign()
    return query.abs() * torch.where(torch.arange(len(query)) % 2 == 0, 2.0, -2.0)[:, None, None], key


def _alternating(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    sign = torch.where(torch.arange(len(query)) % 2 == 0, 4.0, -4.0)[:, None, None]
    return query[:1] * sign.abs(), key[:1] * sign


def _near_ties(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    return query * 4, key[:1] * 4 + key * 2**-6


_SHAPES = {
    "normal": lambda query, key: (query, key),
    "large": lambda query, key: (query * 30, key * 30),
    "constant": _constant,
    "huge": _huge,
    "alternating": _alternating,
    "near_ties": _near_ties,
}
INPUTS = tuple(_SHAPES)
