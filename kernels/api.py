"""The one entry point for packed attention, the table of what can run it, and the plan that GPU kernels read."""

import difflib
import importlib.util
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, overload

import torch
from torch import Tensor

from longwatch.kernels.checks import check_sink
from longwatch.kernels.packed import check_packed, packed_gather_attention
from longwatch.kernels.pattern import Pattern
from longwatch.kernels.plan import Plan
from longwatch.kernels.reference import reference_attention

if TYPE_CHECKING:
    from longwatch.kernels.triton_impl.device_plan import DevicePlan
    from longwatch.kernels.triton_impl.topk import TopKPlan

__all__ = ["block_sparse_attention", "plan_on_device"]

AnyPlan: TypeAlias = Union[Plan, "DevicePlan", "TopKPlan"]
Result: TypeAlias = tuple[Tensor, Tensor | None]
Implementation = Callable[[Tensor, Tensor, Tensor, AnyPlan, float, Tensor | None, bool, bool], Result]

_HAS_TRITON = importlib.util.find_spec("triton") is not None


@overload
def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: AnyPlan,
    scale: float | None = None,
    implementation: str = "auto",
    sink: Tensor | None = None,
    return_lse: Literal[False] = False,
    deterministic: bool = True,
) -> Tensor: ...


@overload
def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: AnyPlan,
    scale: float | None = None,
    implementation: str = "auto",
    sink: Tensor | None = None,
    *,
    return_lse: Literal[True],
    deterministic: bool = True,
) -> tuple[Tensor, Tensor]: ...


def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: AnyPlan,
    scale: float | None = None,
    implementation: str = "auto",
    sink: Tensor | None = None,
    return_lse: bool = False,
    deterministic: bool = True,
) -> Tensor | tuple[Tensor, Tensor | None]:
    """Attention output `[T, H, D]` of the plan's packed documents, in query's dtype; an empty row gives 0.

    query `[T, H, D]`, key and value `[T, Hkv, D]`, one floating dtype, any strides; Hkv divides H. plan comes from
    `build_plan` or, for the GPU kernels alone and under torch.compile with them, from `plan_on_device`. scale is
    1/sqrt(D) unless given.
    implementation: "reference" (the definition, slow), "gather" (plain torch operations), "triton" (CUDA, float16 or
    bfloat16, D 32, 64 or 128), "int8" (as triton, for inference: ValueError where a gradient is asked for), or "auto":
    triton where it can run, else gather. int8 rounds a query and each whole block of 64 keys of earlier tiles of 128
    to 255 steps of their largest magnitude, which moves a logit by about a thousandth of their norms' product; what a
    row gets still depends neither on what it is packed with nor on what comes later.
    sink: floating `[H]`, one more logit of every query, without a value. return_lse: also the log-sum-exp of the
    logits, sink included, `[T, H]`; -inf for an empty row. Everything is differentiable once. deterministic=False
    lets triton's backward add up in any order, which is faster. ValueError names the argument that does not hold.
    """
    groups = len(plan.patterns) if isinstance(plan, Plan) else plan.groups
    check_packed(query, key, value, plan.tokens, groups)
    check_sink(sink, query)
    name = _choose(query, plan) if implementation == "auto" else implementation
    if name not in _IMPLEMENTATIONS:
        valid = ["auto", *_IMPLEMENTATIONS]
        near = difflib.get_close_matches(name, valid, n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"implementation: expected one of {', '.join(valid)}, got {name!r}{advice}")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    out, lse = _IMPLEMENTATIONS[name](query, key, value, plan, scale, sink, return_lse, deterministic)
    return (out, lse) if return_lse else out


def plan_on_device(
    patterns: Pattern | Sequence[Pattern],
    cu_seqlens: Any,
    *,
    device: torch.device | str | None = None,
    tokens: int | None = None,
    max_seqlen: int | None = None,
) -> "DevicePlan | TopKPlan":
    """The plan that the GPU kernels read, made on the device, for one pattern or one per head group.

    Lengths on the host: pass cu_seqlens `[B + 1]` (list, array or CPU tensor) and the device, cuda unless given; the
    last few plans are kept. Lengths on the device: pass the int tensor and `tokens`, the packed rows, and best
    `max_seqlen`, an upper bound of the lengths that nobody checks. The host then never waits, a CUDA graph can
    capture it, and torch.compile sees one shape. With topk the blocks are chosen at each use. ValueError names the
    argument; RuntimeError without triton.
    """
    if not _HAS_TRITON:
        raise RuntimeError("plan_on_device: needs triton, which is not installed; use build_plan")
    from longwatch.kernels.triton_impl.plans import build_any_plan

    return build_any_plan(patterns, cu_seqlens, device=device, tokens=tokens, max_seqlen=max_seqlen)


def _choose(query: Tensor, plan: AnyPlan) -> str:
    if not isinstance(plan, Plan):
        return "triton"
    fast = query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and query.shape[2] in (32, 64, 128)
    if not fast or not _HAS_TRITON:
        return "gather"
    from longwatch.kernels.triton_impl.plans import refusal

    return "triton" if refusal(plan.patterns) is None else "gather"


def _host(plan: AnyPlan, name: str) -> Plan:
    if not isinstance(plan, Plan):
        raise ValueError(f"plan: expected one of build_plan for implementation {name!r}, got {type(plan).__name__}")
    return plan


def _reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: AnyPlan,
    scale: float,
    sink: Tensor | None,
    _return_lse: bool,
    _deterministic: bool,
) -> Result:
    host = _host(plan, "reference")
    bounds, count = torch.from_numpy(host.cu_seqlens), len(host.patterns)
    groups = zip(*(tensor.chunk(count, dim=1) for tensor in (query, key, value)), strict=True)
    sinks = [None] * count if sink is None else sink.chunk(count)
    results = [
        reference_attention(rows, keys, values, pattern, bounds, scale, sink=logits, return_lse=True)
        for pattern, logits, (rows, keys, values) in zip(host.patterns, sinks, groups, strict=True)
    ]
    out, lse = (torch.cat(parts, dim=1) for parts in zip(*results, strict=True))
    return out, lse


def _gather(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: AnyPlan,
    scale: float,
    sink: Tensor | None,
    return_lse: bool,
    _deterministic: bool,
) -> Result:
    host = _host(plan, "gather")
    if return_lse:
        return packed_gather_attention(query, key, value, host, scale, sink=sink, return_lse=True)
    return packed_gather_attention(query, key, value, host, scale, sink=sink), None


def _triton(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: AnyPlan,
    scale: float,
    sink: Tensor | None,
    _return_lse: bool,
    deterministic: bool,
    *,
    short: bool = False,
) -> Result:
    if not _HAS_TRITON:
        name = "int8" if short else "triton"
        raise ValueError(f"implementation: {name!r} needs triton, which is not installed; expected 'auto' or 'gather'")
    from longwatch.kernels.triton_impl.attention import triton_attention

    return triton_attention(query, key, value, plan, scale, sink, deterministic, short=short)


_IMPLEMENTATIONS: dict[str, Implementation] = {
    "reference": _reference,
    "gather": _gather,
    "triton": _triton,
    "int8": partial(_triton, short=True),
}
