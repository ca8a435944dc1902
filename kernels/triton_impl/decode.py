"""Attention of a few new tokens of many streams against their caches, bitwise as the forward pass computes them."""

import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.cache import KVCache, page_row
from longwatch.kernels.triton_impl.forward import LOG2_E, upcast
from longwatch.kernels.triton_impl.invariant import after_previous
from longwatch.kernels.triton_impl.softmax import normalised, online_softmax, start_softmax, widened

__all__ = ["attention_decode"]


@triton.jit(do_not_specialize=["CHUNK", "BAND", "PAGES", "PINNED", "RING", "COLUMN_LENGTH", "RANK_LENGTH"])
def _decode(
    query, key, value, table, slots, position, counts, sink, out, columns, column_blocks, column_rank,
    scale_log2, CHUNK, BAND, PAGES, PINNED, RING, COLUMN_LENGTH, RANK_LENGTH, query_row, query_head,
    HEADS: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, BN: tl.constexpr, STAGES: tl.constexpr,
    HAS_SINK: tl.constexpr, HAS_COLUMNS: tl.constexpr, PAGED: tl.constexpr, OVERLAP: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    BM: tl.constexpr = 64
    TOKENS: tl.constexpr = BM // GROUP
    KV_HEADS: tl.constexpr = HEADS // GROUP
    after_previous(OVERLAP)
    kv_head, stream = tl.program_id(0), tl.program_id(1)
    begin = tl.program_id(2) * TOKENS
    slot = tl.load(slots + stream)
    count = tl.load(counts + stream)
    first = tl.load(position + stream * CHUNK + begin)
    there = (slot >= 0) & (begin < count)
    slot, first = tl.where(there, slot, 0), tl.where(there, first, 0)
    end = tl.where(there, tl.minimum(count, begin + TOKENS), begin)
    last = first + end - begin - 1

    # Rows are the new tokens times the query heads that share this key head.
    row = tl.arange(0, BM)
    token = begin + row // GROUP
    head = kv_head * GROUP + row % GROUP
    live, inside = token < end, token < CHUNK
    if TOKENS * GROUP < BM:
        live, inside = live & (row < TOKENS * GROUP), inside & (row < TOKENS * GROUP)
    query_pos = (first + token - begin)[:, None]
    lane = tl.arange(0, D)
    at = (stream * CHUNK + token).to(tl.int64)
    q_ptr = query + at[:, None] * query_row + head[:, None] * query_head + lane[None, :]
    q = widened(tl.load(q_ptr, mask=live[:, None], other=0.0), UPCAST)
    logit = tl.load(sink + head) if HAS_SINK else 0.0
    row_max, row_sum = start_softmax(logit, BM, HAS_SINK)
    acc = tl.zeros([BM, D], tl.float32)

    # Far column blocks, then the band's, both by rising key: the order in which the forward pass takes them.
    lowest = tl.where(BAND > 0, tl.maximum(first - BAND + 1, 0) // BN, last // BN + 1)
    far = 0
    if HAS_COLUMNS:
        far = tl.load(column_rank + tl.minimum(tl.minimum(lowest, last // BN + 1), RANK_LENGTH - 1))
    step = tl.arange(0, BN)
    # Idle rows walk no block and come out as zeros: what memory held could be NaN to the layers after this.
    blocks = tl.where(there, far + last // BN + 1 - lowest, 0)
    for i in tl.range(0, blocks, num_stages=STAGES):
        block = lowest + i - far
        if HAS_COLUMNS:
            block = tl.load(column_blocks + i, mask=i < far, other=0) + tl.where(i < far, 0, block)
        key_pos = block * BN + step
        # No byte is read of a key that no new token sees; where there are columns, a block is read whole.
        read = key_pos <= last
        if not HAS_COLUMNS:
            read = read & (key_pos > first - BAND)
        page = page_row(table, slot, block * BN, PAGES, PINNED, RING, BN, PAGED)
        base = (page * KV_HEADS + kv_head) * BN * D
        k = tl.load(key + base + step[None, :] * D + lane[:, None], mask=read[None, :], other=0.0)
        scores = tl.dot(q, widened(k, UPCAST), input_precision="ieee")
        whole = (block * BN + BN - 1 <= first) & (block * BN > last - BAND)
        if not whole:
            near = query_pos - key_pos[None, :] < BAND
            if HAS_COLUMNS:
                near = near | (tl.load(columns + tl.minimum(key_pos, COLUMN_LENGTH - 1)) != 0)[None, :]
            scores = tl.where((key_pos[None, :] <= query_pos) & near, scores, float("-inf"))
        weights, row_max, row_sum, rescale = online_softmax(scores, row_max, row_sum, scale_log2)
        v = tl.load(value + base + step[:, None] * D + lane[None, :], mask=read[:, None], other=0.0)
        weights = widened(weights.to(value.dtype.element_ty), UPCAST)
        acc = tl.dot(weights, widened(v, UPCAST), acc * rescale[:, None], input_precision="ieee")

    acc = normalised(acc, row_sum)
    out_ptr = out + (at * HEADS + head)[:, None] * D + lane[None, :]
    tl.store(out_ptr, acc.to(out.dtype.element_ty), mask=inside[:, None])


def attention_decode(
    query: Tensor,
    cache: KVCache,
    slots: Tensor,
    position: Tensor,
    counts: Tensor,
    chunk: int,
    scale: float,
    sink: Tensor | None = None,
    overlap: bool = False,
    stages: int | None = None,
) -> Tensor:
    """Attention output `[S * chunk, H, D]` of the new tokens, whose keys and values the cache holds already.

    query `[S * chunk, H, D]`: stream i's new tokens are rows i * chunk and on, counts[i] <= chunk of them; what other
    rows of the output hold has no meaning. slots int32 [S]: the stream's place in the cache, -1 for none. position
    int32 [S * chunk]: the tokens' places in their streams. scale > 0; sink float32 [H]. Bitwise equal to
    `attention_forward` of the whole sequence with the same key blocks.
    """
    rows, heads, width = query.shape
    group = heads // cache.key.shape[1]
    out = query.new_empty(query.shape)
    if rows == 0:
        return out
    columns = cache.columns is not None
    grid = (heads // group, rows // chunk, triton.cdiv(chunk, 64 // group))
    _decode[grid](
        query, cache.key, cache.value, slots if cache.table is None else cache.table,
        slots, position, counts, sink, out,
        cache.columns, cache.column_blocks, cache.column_rank, scale * LOG2_E, chunk, cache.band,
        cache.pages, cache.pinned, cache.ring,
        0 if cache.columns is None else len(cache.columns), 0 if cache.column_rank is None else len(cache.column_rank),
        *query.stride()[:2],
        HEADS=heads, GROUP=group, D=width, BN=cache.key_block, STAGES=stages or _stages(width, cache.key_block),
        HAS_SINK=sink is not None, HAS_COLUMNS=columns, PAGED=cache.table is not None,
        OVERLAP=overlap, UPCAST=upcast(query), num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    return out


def _stages(width: int, key_block: int) -> int:
    """Key blocks on their way at once: what lets several programs share a processor's memory."""
    return 2 if width * key_block > 8192 else 4
