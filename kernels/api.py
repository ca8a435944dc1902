"""The one entry point for packed attention, and the table of what can run it."""

import difflib
from collections.abc import Callable

import torch
from torch import Tensor

from longwatch.kernels.packed import check_packed, packed_gather_attention
from longwatch.kernels.plan import Plan
from longwatch.kernels.reference import reference_attention

__all__ = ["block_sparse_attention"]

Implementation = Callable[[Tensor, Tensor, Tensor, Plan, float | None], Tensor]


def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: Plan,
    scale: float | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Attention output `[T, H, D]` of the plan's packed documents, in query's dtype; an empty row gives 0.

    query `[T, H, D]`, key and value `[T, Hkv, D]`, one floating dtype; Hkv divides H. scale is 1/sqrt(D) unless given.
    implementation: "auto", or one of the table's names. ValueError names the argument that does not hold.
    """
    check_packed(query, key, value, plan)
    name = _choose(query) if implementation == "auto" else implementation
    if name not in _IMPLEMENTATIONS:
        valid = ["auto", *_IMPLEMENTATIONS]
        near = difflib.get_close_matches(name, valid, n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"implementation: expected one of {', '.join(valid)}, got {name!r}{advice}")
    return _IMPLEMENTATIONS[name](query, key, value, plan, scale)


def _choose(_query: Tensor) -> str:
    # The device, dtype and head width decide here once a fused kernel is in the table.
    return "gather"


def _reference(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scale: float | None) -> Tensor:
    bounds = torch.from_numpy(plan.cu_seqlens)
    groups = zip(*(tensor.chunk(len(plan.patterns), dim=1) for tensor in (query, key, value)), strict=True)
    outputs = [
        reference_attention(rows, keys, values, pattern, bounds, scale)
        for pattern, (rows, keys, values) in zip(plan.patterns, groups, strict=True)
    ]
    return torch.cat(outputs, dim=1)


_IMPLEMENTATIONS: dict[str, Implementation] = {
    "reference": _reference,
    "gather": packed_gather_attention,
}
