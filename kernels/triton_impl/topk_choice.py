# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The launches that choose blocks: lay the blocks of a plan once; then means of blocks, and the highest gates.

Blocks int32 [N, 5] in packed order: first row, stop row; of the document: first block, one past the last, first tile by
row.
"""

import triton
import triton.language as tl

from longwatch.kernels.triton_impl.plan_kernels import document_rows, owner
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS

__all__ = ["choose_blocks", "lay_blocks", "mean_blocks"]

_TILE = tl.constexpr(128)
_NONE = tl.constexpr(-(1 << 63))
_MOST = tl.constexpr((1 << 63) - 1)
_LOWEST = tl.constexpr(-0x7F800001)  # -inf as the integers below order it
_LOW = tl.constexpr(0x7FFFFFFF)


@triton.jit(do_not_specialize=[*BY_LENGTHS, "steps"])
def lay_blocks(
    bounds, block_offsets, tile_offsets, tiles, blocks, tile_blocks, order,
    documents, block_count, tile_count, tokens, longest, steps, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """CHUNK blocks and tiles a program.

    tile_blocks [tiles, 2]: first block and tile, by row, of a tile's document; order [tiles]: the tile of each row.
    """
    row = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    live = row < tl.minimum(tl.load(block_offsets + documents), block_count)
    document = owner(block_offsets, row, documents, steps)
    start, stop = document_rows(bounds, document, live, tokens, longest)
    first = tl.load(block_offsets + document)
    start += (row - first) * BLOCK
    room = row < block_count
    tl.store(blocks + row * 5, tl.where(live, start, 0), mask=room)
    tl.store(blocks + row * 5 + 1, tl.where(live, tl.minimum(start + BLOCK, stop), 0), mask=room)
    tl.store(blocks + row * 5 + 2, tl.where(live, first, row), mask=room)
    tl.store(blocks + row * 5 + 3, tl.where(live, tl.load(block_offsets + document + 1), row + 1), mask=room)
    tl.store(blocks + row * 5 + 4, tl.where(live, tl.load(tile_offsets + document), 0), mask=room)

    room = row < tile_count
    begin = tl.load(tiles + row * 4, mask=room, other=0)
    used = tl.load(tiles + row * 4 + 1, mask=room, other=0) > begin
    start = tl.load(tiles + row * 4 + 2, mask=room, other=0)
    document = owner(bounds, start, documents, steps)
    tile = tl.load(tile_offsets + document)
    tl.store(tile_blocks + row * 2, tl.load(block_offsets + document), mask=room)
    tl.store(tile_blocks + row * 2 + 1, tile, mask=room)
    tile += (begin - start) // _TILE
    tl.store(order + tl.where(used, tile, 0), row, mask=used & (tile < tile_count))


@triton.jit(do_not_specialize=BY_LENGTHS)
def mean_blocks(
    query, key, blocks, means, block_count, query_row, query_head, key_row, key_head,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of a key head a program: float64 [2, Hkv, N, D] of its queries and keys; 0 for a partial block."""
    work = tl.program_id(0)
    head, block = work % KV_HEADS, work // KV_HEADS
    start = tl.load(blocks + block * 5)
    lane = tl.arange(0, D)
    queries = tl.zeros([D], tl.float64)
    keys = tl.zeros([D], tl.float64)
    if tl.load(blocks + block * 5 + 1) - start == BLOCK:
        for step in range(BLOCK // 64):
            at = (start + step * 64 + tl.arange(0, 64)).to(tl.int64)[:, None]
            found = tl.load(key + at * key_row + head * key_head + lane[None, :])
            keys += tl.sum(found.to(tl.float32).to(tl.float64), 0)
            for shared in range(GROUP):
                found = tl.load(query + at * query_row + (head * GROUP + shared) * query_head + lane[None, :])
                queries += tl.sum(found.to(tl.float32).to(tl.float64), 0)
    out = means + (head * block_count + block).to(tl.int64) * D + lane
    tl.store(out, queries / (BLOCK * GROUP))
    tl.store(out + KV_HEADS * block_count * D, keys / BLOCK)


@triton.jit(do_not_specialize=[*BY_LENGTHS, "scale_bits"])
def choose_blocks(
    means, blocks, counts, chosen, block_count, scale_bits,
    KV_HEADS: tl.constexpr, PATTERN_HEADS: tl.constexpr, D: tl.constexpr,
    COUNT: tl.constexpr, LANES: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """ROWS query blocks of a key head a program: chosen int32 [Hkv, N, COUNT] from the document's start, rising, -1.

    As `kernels.topk`: gates of float64 means compared in float32, the lower block of equals; scale_bits: a float64's.
    """
    head = tl.program_id(1)
    # Later blocks have more to choose from, so they start first.
    row = (tl.num_programs(0) - 1 - tl.program_id(0)) * ROWS + tl.arange(0, ROWS)
    inside = row < block_count
    first = tl.load(blocks + row * 5 + 2, mask=inside, other=block_count)
    lane = tl.arange(0, D)
    slot = tl.arange(0, LANES)
    wanted = tl.load(counts + head // PATTERN_HEADS)
    scale = scale_bits.to(tl.int64).to(tl.float64, bitcast=True)
    queries = means + head * block_count * D
    keys = queries + KV_HEADS * block_count * D
    before = tl.maximum(row - 1, first)
    query = tl.load(queries + before[:, None] * D + lane[None, :], mask=inside[:, None], other=0.0)
    # No two are equal, so that one alone gives way; lanes that the group has no use for never do.
    best = tl.where(slot < wanted, slot.to(tl.int64) + _NONE, _MOST)[None, :] + tl.zeros([ROWS, LANES], tl.int64)
    stop = tl.where(wanted > 0, tl.max(tl.where(inside, row, 0)), 0)
    for start in range(tl.min(first), stop, CHUNK):
        column = start + tl.arange(0, CHUNK)
        key = tl.load(keys + column[None, :] * D + lane[:, None], mask=column[None, :] < block_count, other=0.0)
        gate = (tl.dot(query, key, out_dtype=tl.float64) * scale).to(tl.float32)
        allowed = (column[None, :] < row[:, None]) & (column[None, :] >= first[:, None])
        found = _ranked(gate, allowed, column[None, :])
        best = _highest(best, found, wanted)
    there = (best < _MOST) & (best >= _NONE + LANES)
    block = tl.where(there, (-(best & _LOW) + _LOW).to(tl.int32) - first[:, None], _LOW)
    out = chosen + (head * block_count + row) * COUNT
    for place in range(COUNT):
        lowest = tl.min(block, 1)
        tl.store(out + place, tl.where(lowest < _LOW, lowest, -1), mask=inside)
        block = tl.where(block == lowest[:, None], _LOW, block)


@triton.jit
def _ranked(gate, allowed, column):
    # int64 in the gates' order, the lower column of equals first; a NaN with its sign set is never chosen.
    bits = tl.where(gate == 0, 0.0, gate).to(tl.int32, bitcast=True)
    ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    ranked = (ordered.to(tl.int64) << 32) | (-column + _LOW).to(tl.int64)
    return tl.where(allowed & (ordered >= _LOWEST), ranked, _NONE)


@triton.jit
def _highest(best, found, wanted):
    # As many rounds as the row with most to gain needs: late chunks have little that is higher.
    better = tl.sum((found > tl.min(best, 1)[:, None]).to(tl.int32), 1)
    for _ in range(tl.minimum(tl.max(better, 0), wanted)):
        top, lowest = tl.max(found, 1)[:, None], tl.min(best, 1)[:, None]
        best = tl.where((best == lowest) & (top > lowest), top, best)
        found = tl.where(found == top, _NONE, found)
    return best
