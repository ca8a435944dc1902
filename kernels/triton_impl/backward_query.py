"""The gradient of the queries: the forward's tiles and lists once more; writes delta for the key side's pass."""

import triton
import triton.language as tl

from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS
from longwatch.kernels.triton_impl.softmax import edge_mask, held_to, widened

__all__ = ["query_gradient"]


@triton.jit(do_not_specialize=BY_LENGTHS)
def query_gradient(
    query, key, value, out, grad_out, grad_lse, lse, delta, grad_query, gate,
    tiles, rows, entries, columns, bands,
    scale, scale_log2, tokens, tile_count, column_length, entry_count,
    query_row, query_head, key_row, key_head, value_row, value_head, grad_row, grad_head,
    HEADS: tl.constexpr, GROUP: tl.constexpr, PATTERN_HEADS: tl.constexpr, D: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, STAGES: tl.constexpr,
    HAS_COLUMNS: tl.constexpr, HAS_GRAD_LSE: tl.constexpr, WANT_GATE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dQ `[T, H, D]` and delta `[H, T]` = sum(out * dOut) - dLse; on request the sum of dS of each entry's halves."""
    HALVES: tl.constexpr = 128 // BM
    work = tl.program_id(0)
    head, part, tile = work % HEADS, work // HEADS % HALVES, work // HEADS // HALVES
    first = tl.load(tiles + tile * 4) + part * BM
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

    query_at = first + tl.arange(0, BM)
    wide_at = query_at.to(tl.int64)
    lane = tl.arange(0, D)
    live = query_at < stop
    q = tl.load(query + wide_at[:, None] * query_row + head * query_head + lane[None, :], live[:, None], other=0.0)
    do = tl.load(grad_out + wide_at[:, None] * grad_row + head * grad_head + lane[None, :], live[:, None], other=0.0)
    at_row = (wide_at[:, None] * HEADS + head) * D + lane[None, :]
    o = tl.load(out + at_row, live[:, None], other=0.0)
    row_delta = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    if HAS_GRAD_LSE:
        row_delta -= tl.load(grad_lse + head * tokens + query_at, live, other=0.0)
    tl.store(delta + head * tokens + query_at, row_delta, live)
    shift = tl.load(lse + head * tokens + query_at, live, other=0.0) * 1.4426950408889634
    shift = tl.where(shift == float("-inf"), 0.0, shift)
    q = widened(q, UPCAST)
    do = widened(do, UPCAST)
    key += head // GROUP * key_head
    value += head // GROUP * value_head
    acc = tl.zeros([BM, D], tl.float32)
    for at in tl.range(begin, end, num_stages=STAGES):
        entry = tl.load(entries + at)
        key_at = document + (entry >> 4) * BN + tl.arange(0, BN)
        wide_key = key_at.to(tl.int64)
        inside = key_at < document_stop
        k = tl.load(key + wide_key[:, None] * key_row + lane[None, :], inside[:, None], other=0.0)
        v = tl.load(value + wide_key[None, :] * value_row + lane[:, None], inside[None, :], other=0.0)
        k = widened(k, UPCAST)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")
        grad_weights = tl.dot(do, widened(v, UPCAST), input_precision="ieee")
        weights = tl.math.exp2(scores * scale_log2 - shift[:, None])
        whole = (entry & 15) == 5 if BM == 128 else (entry >> 2 * part & 3) == 1
        if not whole:
            limit = held_to(entry, part + tl.arange(0, BM) // 64, band)[:, None]
            seen = edge_mask((query_at - document)[:, None], (key_at - document)[None, :], limit, columns, HAS_COLUMNS)
            weights = tl.where(seen, weights, 0.0)
        grad_scores = weights * (grad_weights - row_delta[:, None])
        if WANT_GATE:
            upper = tl.arange(0, BM) + part * BM >= 64
            total = tl.sum(tl.where(live[:, None], grad_scores, 0.0), 1)
            slot = gate + (head % PATTERN_HEADS * entry_count + at) * 2
            tl.store(slot + 1, tl.sum(tl.where(upper, total, 0.0), 0))
            tl.store(slot, tl.sum(tl.where(upper, 0.0, total), 0))
        acc = tl.dot(widened(grad_scores.to(key.dtype.element_ty), UPCAST), k, acc, input_precision="ieee")
    tl.store(grad_query + at_row, (acc * scale).to(grad_query.dtype.element_ty), live[:, None])
