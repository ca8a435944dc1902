"""The gradients of keys and values: one program holds a tile of keys and walks the query blocks that read it."""

import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.device_plan import TILE, DevicePlan
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS
from longwatch.kernels.triton_impl.softmax import edge_mask, held_to, widened

__all__ = ["key_gradients", "sum_parts"]


@triton.jit(do_not_specialize=BY_LENGTHS)
def key_gradients(
    query, key, value, grad_out, lse, delta, grad_query, grad_key, grad_value, parts,
    tiles, items, entries, columns, bands,
    scale, scale_log2, tokens, item_count, column_length, part_count,
    query_row, query_head, key_row, key_head, value_row, value_head, grad_row, grad_head,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, PATTERN_HEADS: tl.constexpr, D: tl.constexpr,
    BN: tl.constexpr, STAGES: tl.constexpr,
    HAS_COLUMNS: tl.constexpr, SPLIT: tl.constexpr, ATOMIC: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dK and dV `[T, Hkv, D]` of an item's tile, or its float32 partial sums; ATOMIC adds dQ to float32 as well."""
    BM: tl.constexpr = 128
    work = tl.program_id(0)
    kv_head, item = work % KV_HEADS, work // KV_HEADS
    pattern = kv_head // PATTERN_HEADS
    items += (pattern * item_count + item) * 4
    tile = tl.load(items)
    if tile < 0:
        return
    begin = tl.load(items + 1)
    count = tl.load(items + 2) - begin
    first = tl.load(tiles + tile * 4)
    stop = tl.load(tiles + tile * 4 + 1)
    document = tl.load(tiles + tile * 4 + 2)
    document_stop = tl.load(tiles + tile * 4 + 3)
    band = tl.load(bands + pattern)
    columns += pattern * column_length

    key_at = first + tl.arange(0, BM)
    wide_key = key_at.to(tl.int64)
    lane = tl.arange(0, D)
    live = key_at < stop
    k = tl.load(key + wide_key[:, None] * key_row + kv_head * key_head + lane[None, :], live[:, None], other=0.0)
    v = tl.load(value + wide_key[:, None] * value_row + kv_head * value_head + lane[None, :], live[:, None], other=0.0)
    k = widened(k, UPCAST)
    v = widened(v, UPCAST)
    dk = tl.zeros([BM, D], tl.float32)
    dv = tl.zeros([BM, D], tl.float32)
    # The heads that share these keys are walked one after the other.
    for step in tl.range(0, count * GROUP, num_stages=STAGES):
        head = kv_head * GROUP + step // count
        entry = tl.load(entries + begin + step % count)
        query_at = document + (entry >> 4) * BN + tl.arange(0, BN)
        inside = query_at < document_stop
        wide_at = query_at.to(tl.int64)
        q = tl.load(
            query + wide_at[:, None] * query_row + head * query_head + lane[None, :], inside[:, None], other=0.0
        )
        do = tl.load(
            grad_out + wide_at[:, None] * grad_row + head * grad_head + lane[None, :], inside[:, None], other=0.0
        )
        shift = tl.load(lse + head * tokens + query_at, inside, other=0.0) * 1.4426950408889634
        row_delta = tl.load(delta + head * tokens + query_at, inside, other=0.0)
        shift = tl.where(shift == float("-inf"), 0.0, shift)
        q = widened(q, UPCAST)
        do = widened(do, UPCAST)
        scores = tl.dot(k, tl.trans(q), input_precision="ieee")
        weights = tl.math.exp2(scores * scale_log2 - shift[None, :])
        if (entry & 15) != 5:
            limit = held_to(entry, tl.arange(0, BM) // 64, band)[:, None]
            seen = edge_mask((query_at - document)[None, :], (key_at - document)[:, None], limit, columns, HAS_COLUMNS)
            weights = tl.where(seen & inside[None, :], weights, 0.0)
        dv = tl.dot(widened(weights.to(value.dtype.element_ty), UPCAST), do, dv, input_precision="ieee")
        grad_weights = tl.dot(v, tl.trans(do), input_precision="ieee")
        grad_scores = weights * (grad_weights - row_delta[None, :])
        grad_scores = widened(grad_scores.to(key.dtype.element_ty), UPCAST)
        dk = tl.dot(grad_scores, q, dk, input_precision="ieee")
        if ATOMIC:
            dq = tl.dot(tl.trans(grad_scores), k, input_precision="ieee") * scale
            dq_ptr = grad_query + (wide_at[:, None] * (KV_HEADS * GROUP) + head) * D + lane[None, :]
            tl.atomic_add(dq_ptr, dq, mask=inside[:, None], sem="relaxed")
    dk *= scale
    at_row = (wide_key[:, None] * KV_HEADS + kv_head) * D + lane[None, :]
    if SPLIT:
        part = tl.load(items + 3)
        if part >= 0:
            slot = ((kv_head * part_count + part).to(tl.int64) * BM + tl.arange(0, BM)[:, None]) * D + lane[None, :]
            tl.store(parts + slot, dk)
            tl.store(parts + KV_HEADS * part_count * BM * D + slot, dv)
            return
    tl.store(grad_key + at_row, dk.to(grad_key.dtype.element_ty), live[:, None])
    tl.store(grad_value + at_row, dv.to(grad_value.dtype.element_ty), live[:, None])


@triton.jit(do_not_specialize=BY_LENGTHS)
def _sum_parts(
    grad_key, grad_value, parts, tiles, slots, tile_count, part_count,
    KV_HEADS: tl.constexpr, PATTERN_HEADS: tl.constexpr, D: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    kv_head, quarter, tile = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    slots += (kv_head // PATTERN_HEADS * tile_count + tile) * 2
    count = tl.load(slots + 1)
    if count == 0:
        return
    part = tl.load(slots)
    row = quarter * BM + tl.arange(0, BM)
    lane = tl.arange(0, D)
    dk = tl.zeros([BM, D], tl.float32)
    dv = tl.zeros([BM, D], tl.float32)
    for at in tl.range(part, part + count):
        slot = ((kv_head * part_count + at).to(tl.int64) * 128 + row[:, None]) * D + lane[None, :]
        dk += tl.load(parts + slot)
        dv += tl.load(parts + KV_HEADS * part_count * 128 * D + slot)
    key_at = tl.load(tiles + tile * 4) + row
    live = (key_at < tl.load(tiles + tile * 4 + 1))[:, None]
    at_row = (key_at.to(tl.int64)[:, None] * KV_HEADS + kv_head) * D + lane[None, :]
    tl.store(grad_key + at_row, dk.to(grad_key.dtype.element_ty), live)
    tl.store(grad_value + at_row, dv.to(grad_value.dtype.element_ty), live)


def sum_parts(grad_key: Tensor, grad_value: Tensor, parts: Tensor, plan: DevicePlan) -> None:
    """Writes the sum of each split tile's partial dK and dV, in slot order; parts float32 `[2, Hkv, parts, 128, D]`."""
    kv_heads, width = grad_key.shape[1:]
    tile_count = plan.tiles.shape[0]
    _sum_parts[(kv_heads, 4, tile_count)](
        grad_key, grad_value, parts, plan.tiles, plan.key_parts, tile_count, plan.parts,
        KV_HEADS=kv_heads, PATTERN_HEADS=kv_heads // len(plan.bands), D=width, BM=TILE // 4, num_warps=4,
    )  # fmt: skip
