"""Inference with int8 products of queries and keys: a block of keys has one scale, a query its own.

Whole blocks of 64 keys before a query's tile of 128 are int8; its own tile is multiplied as it is. So packing, chunking
and what comes later change no number. Where norms bound the logits well enough, weights are taken from that bound
instead of the running maximum: it is known before the products are, and seldom moves.
"""

from dataclasses import dataclass
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.device_plan import HALF, TILE, DevicePlan
from longwatch.kernels.triton_impl.forward import LOG2_E, fills_tiles, suits_hopper, upcast
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS
from longwatch.kernels.triton_impl.softmax import (
    edge_mask,
    held_to,
    normalised,
    online_softmax,
    start_softmax,
    to_lse,
    widened,
)

__all__ = ["QuantisedKeys", "bound_limit", "quantise_keys", "quantised_forward"]

_BOUND: Final = 50.0


@triton.jit
def _steps(values, largest):
    """Values as whole numbers up to 127 in steps of the scale, which goes with the largest magnitude, and the scale."""
    # Not 0, for -inf times 0 is NaN.
    scale = tl.maximum(largest, 1e-12) * (1.0 / 127.0)
    # Adding this rounds to whole numbers, ties to even.
    return tl.minimum(tl.maximum((values / scale + 12582912.0) - 12582912.0, -127.0), 127.0), scale


@triton.jit(do_not_specialize=BY_LENGTHS)
def _quantise_keys(key, steps, table, tiles, tokens, key_row, key_head, HEADS: tl.constexpr, D: tl.constexpr):
    tile, head, half = tl.program_id(0) // 2, tl.program_id(1), tl.program_id(0) % 2
    first = tl.load(tiles + tile * 4) + 64 * half
    # A block that is not whole may grow, and nobody reads its steps.
    if first + 64 <= tl.load(tiles + tile * 4 + 1):
        row = (first + tl.arange(0, 64)).to(tl.int64)[:, None]
        lane = tl.arange(0, D)[None, :]
        values = tl.load(key + row * key_row + head * key_head + lane).to(tl.float32)
        whole, scale = _steps(values, tl.max(tl.max(tl.abs(values), 1), 0))
        norm = scale * tl.sqrt(tl.max(tl.sum(whole * whole, 1), 0))
        tl.store(steps + (row * HEADS + head) * D + lane, whole.to(tl.int8))
        # NaN and infinity must reach whoever sees this block, and no other: infinity does, masked scores stay -inf.
        poison = tl.sum(tl.sum(values * 0.0, 1), 0)
        tl.store(table + head * tokens + first, tl.where(poison == poison, scale, float("inf")))
        tl.store(table + head * tokens + first + 1, norm)


@triton.jit
def _own(entries, at, begin, end, place):
    """1 where an entry in [begin, end) is a block from this place in the document on."""
    inside = (at >= begin) & (at < end)
    return (inside & ((tl.load(entries + at, mask=inside, other=0) >> 4) * 64 >= place)).to(tl.int32)


@triton.jit(do_not_specialize=BY_LENGTHS)
def _forward(
    query, key, value, steps, table, sink, out, lse, tiles, rows, entries, columns, bands,
    scale_log2, tokens, tile_count, column_length,
    query_row, query_head, key_row, key_head, value_row, value_head,
    HEADS: tl.constexpr, GROUP: tl.constexpr, PATTERN_HEADS: tl.constexpr, D: tl.constexpr, STAGES: tl.constexpr,
    HAS_SINK: tl.constexpr, HAS_COLUMNS: tl.constexpr, UPCAST: tl.constexpr, LIMIT: tl.constexpr,
):  # fmt: skip
    work = tl.program_id(0)
    head, tile = work % HEADS, work // HEADS
    first = tl.load(tiles + tile * 4)
    stop = tl.load(tiles + tile * 4 + 1)
    if first >= stop:
        return
    document = tl.load(tiles + tile * 4 + 2)
    document_stop = tl.load(tiles + tile * 4 + 3)
    pattern = head // PATTERN_HEADS
    band = tl.load(bands + pattern)
    begin = tl.load(rows + (pattern * tile_count + tile) * 2)
    end = tl.load(rows + (pattern * tile_count + tile) * 2 + 1)
    columns += pattern * column_length
    split = (
        end
        - _own(entries, end - 1, begin, end, first - document)
        - _own(entries, end - 2, begin, end, first - document)
    )

    query_at = first + tl.arange(0, 128)
    lane = tl.arange(0, D)
    live = query_at < stop
    query_ptr = query + query_at.to(tl.int64)[:, None] * query_row + head * query_head + lane[None, :]
    q = tl.load(query_ptr, mask=live[:, None], other=0.0)
    values = q.to(tl.float32)
    whole_q, row_scale = _steps(values, tl.max(tl.abs(values), 1)[:, None])
    row_scale = tl.sum(row_scale, 1) * scale_log2
    norm = row_scale * tl.sqrt(tl.sum(whole_q * whole_q, 1))
    row_scale += tl.sum(values * 0.0, 1)
    short = whole_q.to(tl.int8)
    steps += head // GROUP * D + lane[:, None]
    table += head // GROUP * tokens + document
    key += head // GROUP * key_head + lane[:, None]
    value += head // GROUP * value_head + lane[None, :]
    logit = tl.load(sink + head) if HAS_SINK else 0.0
    row_max, row_sum = start_softmax(logit, 128, HAS_SINK)
    acc = tl.zeros([128, D], tl.float32)
    flat = tl.zeros([128, 64], tl.float32)
    for at in tl.range(begin, split, num_stages=STAGES):
        entry = tl.load(entries + at)
        start = (entry >> 4) * 64
        key_at = document + start + tl.arange(0, 64)
        k = tl.load(steps + key_at.to(tl.int64)[None, :] * (HEADS // GROUP * D))
        factor = row_scale * tl.load(table + start)
        reach = norm * tl.load(table + start + 1)
        # Sums from 3 * 2**22 in float32: the bits of an integer sum below 2**22 are then the float's own.
        scores = tl.dot(short, k, tl.full([128, 64], 0x4B400000, tl.int32), out_dtype=tl.int32)
        scores = scores.to(tl.float32, bitcast=True)
        if (entry & 15) != 5:
            limit = held_to(entry, tl.arange(0, 128) // 64, band)[:, None]
            seen = edge_mask((query_at - document)[:, None], (key_at - document)[None, :], limit, columns, HAS_COLUMNS)
            scores = tl.where(seen, scores, float("-inf"))
        # A row that does not see the whole block takes its maximum, whoever else is in the tile.
        bounded = (tl.min(scores, 1) > float("-inf")) & (reach <= LIMIT)
        reach = tl.where(bounded, reach, tl.fma(tl.max(scores, 1), factor, factor * -12582912.0))
        new_max = tl.maximum(row_max, reach)
        shift = tl.where(new_max == float("-inf"), 0.0, new_max)
        offset = tl.fma(factor, tl.full([128], -12582912.0, tl.float32), -shift)
        weights = tl.math.exp2(tl.fma(scores, factor[:, None] + flat, offset[:, None] + flat))
        rescale = tl.math.exp2(row_max - shift)
        row_max = new_max
        # Rounded before the sum is added, as where nothing moves.
        row_sum = tl.fma(row_sum, rescale, tl.zeros([128], tl.float32)) + tl.sum(weights, 1)
        v = tl.load(value + key_at.to(tl.int64)[:, None] * value_row)
        weights = widened(weights.to(value.dtype.element_ty), UPCAST)
        acc = tl.dot(weights, widened(v, UPCAST), acc * rescale[:, None], input_precision="ieee")
    q = widened(q, UPCAST)
    for at in tl.range(split, end, num_stages=1):
        entry = tl.load(entries + at)
        key_at = document + (entry >> 4) * 64 + tl.arange(0, 64)
        inside = key_at < document_stop
        k = tl.load(key + key_at.to(tl.int64)[None, :] * key_row, mask=inside[None, :], other=0.0)
        scores = tl.dot(q, widened(k, UPCAST), input_precision="ieee")
        limit = held_to(entry, tl.arange(0, 128) // 64, band)[:, None]
        seen = edge_mask((query_at - document)[:, None], (key_at - document)[None, :], limit, columns, HAS_COLUMNS)
        scores = tl.where(seen, scores, float("-inf"))
        weights, row_max, row_sum, rescale = online_softmax(scores, row_max, row_sum, scale_log2)
        v = tl.load(value + key_at.to(tl.int64)[:, None] * value_row, mask=inside[:, None], other=0.0)
        weights = widened(weights.to(value.dtype.element_ty), UPCAST)
        acc = tl.dot(weights, widened(v, UPCAST), acc * rescale[:, None], input_precision="ieee")

    tl.store(lse + head * tokens + query_at, to_lse(row_max, row_sum), mask=live)
    acc = normalised(acc, row_sum)
    out_ptr = out + (query_at.to(tl.int64)[:, None] * HEADS + head) * D + lane[None, :]
    tl.store(out_ptr, acc.to(out.dtype.element_ty), mask=live[:, None])


@dataclass(frozen=True)
class QuantisedKeys:
    """Steps int8 `[T, Hkv, D]`, contiguous, of whole blocks of 64 of a document; nothing is said of other rows.

    table float32 `[Hkv, T]`: what a step is worth at a block's first row, the largest norm of its keys at the second.
    """

    steps: Tensor
    table: Tensor


def quantise_keys(key: Tensor, plan: DevicePlan) -> QuantisedKeys:
    """Whole blocks of keys `[T, Hkv, D]`, D contiguous; the scale of a block with NaN or infinity is infinity."""
    tokens, heads, width = key.shape
    steps = torch.empty(tokens, heads, width, dtype=torch.int8, device=key.device)
    table = torch.empty(heads, tokens, dtype=torch.float32, device=key.device)
    if tokens:
        _quantise_keys[(plan.tiles.shape[0] * TILE // HALF, heads)](
            key, steps, table, plan.tiles, tokens, *key.stride()[:2], HEADS=heads, D=width, num_warps=4
        )
    return QuantisedKeys(steps, table)


def bound_limit(dtype: torch.dtype) -> float:
    """The largest bound (base 2) that weights of this dtype are taken from; float16 has no range to spare."""
    return -1.0 if dtype == torch.float16 else _BOUND


def quantised_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: DevicePlan,
    scale: float,
    sink: Tensor | None = None,
    portable: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` in query's dtype and the log-sum-exp `[H, T]`, float32; there is no backward.

    Arguments as of `attention_forward`; the plan's key_block is 64, else ValueError.
    """
    if plan.key_block != HALF:
        raise ValueError(f"plan: expected key_block {HALF} for int8, got {plan.key_block}")
    keys = quantise_keys(key, plan)
    if not portable and fills_tiles(plan) and suits_hopper(plan, query, key, value):
        from longwatch.kernels.triton_impl.hopper.quantised import hopper_quantised

        return hopper_quantised(query, key, value, keys, plan, scale, sink)
    tokens, heads, width = query.shape
    kv_heads, groups = key.shape[1], len(plan.bands)
    columns, column_length = plan.column_rows()
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    lse = torch.empty(heads, tokens, dtype=torch.float32, device=query.device)
    tile_count = plan.tiles.shape[0]
    if not tokens:
        return out, lse
    _forward[(tile_count * heads,)](
        query, key, value, keys.steps, keys.table, sink, out, lse, plan.tiles, plan.query_rows, plan.query_entries,
        columns, plan.band_table,
        scale * LOG2_E, tokens, tile_count, column_length,
        *query.stride()[:2], *key.stride()[:2], *value.stride()[:2],
        HEADS=heads, GROUP=heads // kv_heads, PATTERN_HEADS=heads // groups, D=width, STAGES=3 if width < 128 else 2,
        HAS_SINK=sink is not None, HAS_COLUMNS=plan.columns is not None, UPCAST=upcast(value),
        LIMIT=bound_limit(value.dtype), num_warps=4 if width < 128 else 8,
    )  # fmt: skip
    return out, lse
