"""What is computed: packed documents, heads and a pattern; its data, and how many scores are live."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longwatch.kernels import Pattern, parse_pattern


@dataclass(frozen=True)
class Problem:
    """One attention call over packed documents of these lengths."""

    lengths: tuple[int, ...]
    pattern: str
    heads: int = 8
    kv_heads: int = 8
    width: int = 64
    dtype: torch.dtype = torch.bfloat16

    @property
    def tokens(self) -> int:
        """Packed rows in all."""
        return sum(self.lengths)

    @property
    def rule(self) -> Pattern:
        """The pattern that the text writes."""
        return parse_pattern(self.pattern)

    @property
    def bounds(self) -> list[int]:
        """cu_seqlens."""
        return [0, *np.cumsum(self.lengths).tolist()]

    @cached_property
    def live(self) -> int:
        """Scores that the pattern shows, over all documents and query heads."""
        totals = np.concatenate([[0], np.cumsum(visible_keys(self.rule, max(self.lengths, default=0)))])
        return int(totals[list(self.lengths)].sum()) * self.heads

    def flops(self, kind: str) -> int:
        """Of the live scores alone: two products forward, five backward."""
        products = {"forward": 2, "backward": 5, "both": 7}[kind]
        return products * 2 * self.width * self.live

    def data(self, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query, key, value and the output's gradient, packed, on the GPU."""
        torch.manual_seed(seed)
        heads = (self.heads, self.kv_heads, self.kv_heads, self.heads)
        made = [torch.randn(self.tokens, count, self.width, device="cuda", dtype=self.dtype) for count in heads]
        return made[0], made[1], made[2], made[3]

    def about(self) -> dict[str, Any]:
        """What a row says of it."""
        documents = {"documents": len(self.lengths), "shortest": min(self.lengths), "longest": max(self.lengths)}
        heads = {"heads": self.heads, "kv_heads": self.kv_heads, "width": self.width}
        dtype = str(self.dtype).removeprefix("torch.")
        return {"tokens": self.tokens, **documents, **heads, "dtype": dtype, "pattern": self.pattern, "live": self.live}


def visible_keys(rule: Pattern, longest: int) -> NDArray[np.int64]:
    """How many keys the query at each position sees; the same in every document."""
    position = np.arange(longest)
    if rule.band is None:
        return position + 1
    columns = np.concatenate([[0], np.cumsum(np.asarray(rule.column(position)))])
    beyond = np.maximum(position + 1 - rule.band, 0)
    return np.minimum(position + 1, rule.band) + columns[beyond]


def sample_rows(problem: Problem, count: int = 96) -> NDArray[np.int64]:
    """Rows to check exactly: the first, last and random ones of a few documents, the longest among them."""
    rng = np.random.default_rng(1)
    spans = list(pairwise(problem.bounds))
    longest = max(range(len(spans)), key=lambda index: problem.lengths[index])
    chosen = {0, longest, len(spans) - 1, *rng.integers(0, len(spans), 3).tolist()}
    rows: set[int] = set()
    for start, stop in (spans[index] for index in chosen if spans[index][0] < spans[index][1]):
        rows |= {start, stop - 1, *rng.integers(start, stop, count // len(chosen)).tolist()}
    return np.array(sorted(rows))
