"""Plans on the device for whoever asks: from patterns, or from a host plan and then kept with it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from longwatch.kernels.pattern import Pattern, Sliding, TopK
from longwatch.kernels.plan import Plan
from longwatch.kernels.triton_impl.device_plan import HALF, DevicePlan, build_device_plan
from longwatch.kernels.triton_impl.topk import TopKPlan, plan_choice

__all__ = ["build_any_plan", "refusal", "twin"]

_TWINS: WeakKeyDictionary[Plan, dict[torch.device, DevicePlan | TopKPlan]] = WeakKeyDictionary()


def build_any_plan(
    patterns: Pattern | Sequence[Pattern],
    cu_seqlens: Any,
    *,
    device: torch.device | str | None = None,
    tokens: int | None = None,
    max_seqlen: int | None = None,
) -> DevicePlan | TopKPlan:
    """As `build_device_plan`, and with topk a plan that chooses when it is used; ValueError where kernels cannot."""
    chosen = (patterns,) if isinstance(patterns, Pattern) else tuple(patterns)
    parts = tuple(pattern.data_chosen for pattern in chosen)
    if not any(parts):
        return build_device_plan(chosen, cu_seqlens, device=device, tokens=tokens, max_seqlen=max_seqlen)
    problem = refusal(chosen)
    if problem:
        raise ValueError(f"patterns: {problem}")
    # Key lists come with each choice.
    base = build_device_plan(
        tuple(_certain(pattern) for pattern in chosen),
        cu_seqlens,
        device=device,
        tokens=tokens,
        max_seqlen=max_seqlen,
        key_block=HALF,
        backward=False,
    )
    return plan_choice(base, parts, _counts(parts, base.tiles.device))


def refusal(patterns: Sequence[Pattern]) -> str | None:
    """Why the kernels cannot run these patterns, or None."""
    blocks = {pattern.data_chosen.block for pattern in patterns if pattern.data_chosen is not None}
    if len(blocks) > 1:
        return f"expected topk blocks of one size in all head groups, got {sorted(blocks)}"
    if any(block % HALF for block in blocks):
        return f"expected a topk block that is a multiple of {HALF} for the Triton kernels, got {blocks.pop()}"
    return None


def twin(plan: Plan, device: torch.device) -> DevicePlan | TopKPlan:
    """The device plan of a host plan, made at the first call."""
    known = _TWINS.setdefault(plan, {})
    if device not in known:
        known[device] = build_any_plan(plan.patterns, plan.cu_seqlens, device=device)
    return known[device]


@lru_cache(maxsize=32)
def _counts(parts: tuple[TopK | None, ...], device: torch.device) -> Tensor:
    """Kept, for a CUDA graph cannot capture a copy from the host."""
    return torch.tensor([0 if part is None else part.count for part in parts], dtype=torch.int32, device=device)


def _certain(pattern: Pattern) -> Pattern:
    """A rule of positions that lists at least the query's own block, where the choice adds the rest of it."""
    if pattern.data_chosen is None:
        return pattern
    return Sliding(1) if pattern.fixed is None else pattern.fixed | Sliding(1)
