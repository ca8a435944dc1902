"""The backward pass: dQ by query tiles, then dK and dV by key tiles, each sum in one fixed order unless waived."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from longwatch.kernels.triton_impl.backward_delta import row_delta
from longwatch.kernels.triton_impl.backward_key import key_gradients, sum_parts
from longwatch.kernels.triton_impl.backward_query import query_gradient
from longwatch.kernels.triton_impl.device_plan import TILE, DevicePlan
from longwatch.kernels.triton_impl.forward import LOG2_E, Launch, suits_hopper, upcast

__all__ = ["Gradients", "attention_backward"]


@dataclass(frozen=True)
class Gradients:
    """What the backward pass gives; sink and gate are None where they were not asked for."""

    query: Tensor  # [T, H, D]
    key: Tensor  # [T, Hkv, D]
    value: Tensor  # [T, Hkv, D]
    sink: Tensor | None  # float32 [H]
    gate: Tensor | None  # float32 [E, 2]: sum of the logits' gradient over each query entry's halves and group's heads


# Tried on an H100 (ops/EXPERIMENTS.md); keyed by head width and key block.
_QUERY_LAUNCHES = {
    (32, 64): Launch(128, 8, 3), (32, 128): Launch(128, 8, 2),
    (64, 64): Launch(128, 8, 3), (64, 128): Launch(128, 8, 2),
    (128, 64): Launch(128, 8, 2), (128, 128): Launch(64, 8, 2),
}  # fmt: skip
_KEY_LAUNCHES = {
    (32, 64): Launch(128, 8, 3), (32, 128): Launch(128, 8, 2),
    (64, 64): Launch(128, 8, 3), (64, 128): Launch(128, 8, 2),
    (128, 64): Launch(128, 8, 2), (128, 128): Launch(128, 8, 1),
}  # fmt: skip


def attention_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    plan: DevicePlan,
    scale: float,
    sink: Tensor | None = None,
    *,
    deterministic: bool = True,
    want_gate: bool = False,
    launches: tuple[Launch, Launch] | None = None,
) -> Gradients:
    """Gradients of `attention_forward`; grad_out `[T, H, D]`, grad_lse `[H, T]`, out and lse as the forward gave them.

    deterministic: bitwise the same on every run; otherwise dQ is added up in float32 by whoever comes first, which
    saves two of seven products.
    """
    if not query.shape[0]:
        return _none(query, key, value, sink, plan, want_gate)
    atomic = not deterministic and not want_gate
    hopper = launches is None and query.shape[2] <= 64 and suits_hopper(plan, query, key, value, grad_out)
    if hopper and not atomic:
        found = _on_hopper(grad_out, grad_lse, query, key, value, out, lse, plan, scale, want_gate)
    else:
        launches = launches or (
            _QUERY_LAUNCHES[query.shape[2], plan.key_block],
            _KEY_LAUNCHES[query.shape[2], plan.key_block],
        )
        found = _portable(grad_out, grad_lse, query, key, value, out, lse, plan, scale, atomic, want_gate, launches)
    gradients, delta = found
    if sink is None:
        return gradients
    return replace(gradients, sink=-(torch.exp(sink.float()[:, None] - lse) * delta).sum(1))


def _portable(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    plan: DevicePlan,
    scale: float,
    atomic: bool,
    want_gate: bool,
    launches: tuple[Launch, Launch],
) -> tuple[Gradients, Tensor]:
    grad_key, grad_value = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (key, value))
    delta = torch.empty_like(lse)
    made = torch.zeros if atomic else torch.empty
    grad_query = made(query.shape, dtype=torch.float32 if atomic else query.dtype, device=query.device)
    gate = None
    if atomic:
        row_delta(out, grad_out, grad_lse, delta)
    else:
        gate = _query_pass(
            grad_out, grad_lse, query, key, value, out, lse, delta, grad_query, plan, scale, want_gate, launches[0]
        )
    _key_pass(
        grad_out, query, key, value, lse, delta, grad_query, grad_key, grad_value, plan, scale, atomic, launches[1]
    )
    return Gradients(grad_query.to(query.dtype), grad_key, grad_value, None, gate), delta


def _on_hopper(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    plan: DevicePlan,
    scale: float,
    want_gate: bool,
) -> tuple[Gradients, Tensor]:
    # Gluon is not there on other devices' Triton builds, nor in the interpreter.
    from longwatch.kernels.triton_impl.hopper.key_gradients import hopper_key_gradients
    from longwatch.kernels.triton_impl.hopper.query_gradient import hopper_query_gradient, row_numbers

    gate = None
    if want_gate:
        grad_query, delta = torch.empty_like(query, memory_format=torch.contiguous_format), torch.empty_like(lse)
        launch = _QUERY_LAUNCHES[query.shape[2], plan.key_block]
        gate = _query_pass(
            grad_out, grad_lse, query, key, value, out, lse, delta, grad_query, plan, scale, want_gate, launch
        )
        numbers = row_numbers(lse, delta)
    else:
        grad_query, numbers = hopper_query_gradient(grad_out, grad_lse, query, key, value, out, lse, plan, scale)
    grad_key, grad_value = hopper_key_gradients(grad_out, query, key, value, numbers, plan, scale)
    return Gradients(grad_query, grad_key, grad_value, None, gate), numbers[1]


def _none(
    query: Tensor, key: Tensor, value: Tensor, sink: Tensor | None, plan: DevicePlan, want_gate: bool
) -> Gradients:
    """Gradients where there is no token."""
    gate = query.new_zeros(plan.query_entries.shape[0], 2, dtype=torch.float32) if want_gate else None
    grad_sink = None if sink is None else torch.zeros_like(sink, dtype=torch.float32)
    return Gradients(torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), grad_sink, gate)


def _query_pass(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    delta: Tensor,
    grad_query: Tensor,
    plan: DevicePlan,
    scale: float,
    want_gate: bool,
    launch: Launch,
) -> Tensor | None:
    heads, shared = query.shape[1], _shared(query, key, plan)
    entries = plan.query_entries.shape[0]
    gate = query.new_zeros(heads // len(plan.bands), entries, 2, dtype=torch.float32) if want_gate else None
    tile_count = plan.tiles.shape[0]
    columns, column_length = plan.column_rows()
    query_gradient[(tile_count * heads * (TILE // launch.rows),)](
        query, key, value, out, grad_out, delta if grad_lse is None else grad_lse, lse, delta, grad_query,
        delta if gate is None else gate,
        plan.tiles, plan.query_rows, plan.query_entries, columns, plan.band_table,
        scale, scale * LOG2_E, query.shape[0], tile_count, column_length, entries,
        *query.stride()[:2], *key.stride()[:2], *value.stride()[:2], *grad_out.stride()[:2],
        HEADS=heads, PATTERN_HEADS=heads // len(plan.bands), BM=launch.rows, STAGES=launch.stages,
        HAS_GRAD_LSE=grad_lse is not None, WANT_GATE=want_gate, num_warps=launch.warps, **shared,
    )  # fmt: skip
    return None if gate is None else gate.sum(0)


def _key_pass(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lse: Tensor,
    delta: Tensor,
    grad_query: Tensor,
    grad_key: Tensor,
    grad_value: Tensor,
    plan: DevicePlan,
    scale: float,
    atomic: bool,
    launch: Launch,
) -> None:
    kv_heads, item_count = key.shape[1], plan.key_items.shape[1]
    pattern_heads, shared = kv_heads // len(plan.bands), _shared(query, key, plan)
    parts = lse.new_empty(2, kv_heads, plan.parts, TILE, query.shape[2]) if plan.parts else lse
    columns, column_length = plan.column_rows()
    key_gradients[(item_count * kv_heads,)](
        query, key, value, grad_out, lse, delta, grad_query, grad_key, grad_value, parts,
        plan.tiles, plan.key_items, plan.key_entries, columns, plan.band_table,
        scale, scale * LOG2_E, query.shape[0], item_count, column_length, plan.parts,
        *query.stride()[:2], *key.stride()[:2], *value.stride()[:2], *grad_out.stride()[:2],
        KV_HEADS=kv_heads, PATTERN_HEADS=pattern_heads, STAGES=launch.stages,
        SPLIT=plan.parts > 0, ATOMIC=atomic, num_warps=launch.warps, **shared,
    )  # fmt: skip
    if plan.parts:
        sum_parts(grad_key, grad_value, parts, plan)


def _shared(query: Tensor, key: Tensor, plan: DevicePlan) -> dict[str, Any]:
    return {
        "GROUP": query.shape[1] // key.shape[1],
        "D": query.shape[2],
        "BN": plan.key_block,
        "HAS_COLUMNS": plan.columns is not None,
        "UPCAST": upcast(query),
    }
