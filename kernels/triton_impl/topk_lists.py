# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The launches that list a choice: by query tile what is certain, own and chosen merged; then the same by key tile.

Two entries for one block become one with the higher rank: 1 EDGE, 2 CAUSAL, 3 FULL, each showing all that lower do.
"""

import triton
import triton.language as tl

from longwatch.kernels.triton_impl.plan_kernels import item_slots
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS

__all__ = ["count_readers", "list_queries", "list_readers"]

_TILE = tl.constexpr(128)
_HALF = tl.constexpr(64)
_NOWHERE = tl.constexpr(1 << 30)


@triton.jit(do_not_specialize=BY_LENGTHS)
def list_queries(
    tiles, tile_blocks, counts, chosen, certain_rows, certain, rows, entries, gate_entries,
    tile_count, block_count, base_entries, capacity,
    PATTERN_HEADS: tl.constexpr, GROUPS: tl.constexpr, COUNT: tl.constexpr, STEPS: tl.constexpr,
    ADDED: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """A query tile of a key head a program: its certain entries with up to ADDED of own and chosen blocks between.

    STEPS: 64 rows of a block. Every tile has room for all that it may add, so nobody waits for others' counts.
    """
    tile, head = tl.program_id(0), tl.program_id(1)
    group = head // PATTERN_HEADS
    own, u, x, low, high = _added(
        tiles, tile_blocks, counts, chosen, tile, head, block_count, PATTERN_HEADS, COUNT, STEPS, ADDED
    )
    at = (group * tile_count + tile) * 2
    begin, count = tl.load(certain_rows + at), tl.load(certain_rows + at + 1)
    certain += begin
    count -= begin
    # Certain entries lie by group and row, and so do the rooms.
    line = (head % PATTERN_HEADS * GROUPS + group) * tile_count + own // 2 + tl.load(tile_blocks + tile * 2 + 1)
    begin += head % PATTERN_HEADS * base_entries + line * (2 * STEPS * (COUNT + 1))
    place = tl.zeros([ADDED], tl.int32)
    known = tl.zeros([ADDED], tl.int32)
    for start in range(0, count, CHUNK):
        index = start + tl.arange(0, CHUNK)
        block = tl.where(index < count, tl.load(certain + index, mask=index < count, other=0) >> 4, _NOWHERE)
        place += tl.sum((block[None, :] < x[:, None]).to(tl.int32), 1)
        known += tl.sum((block[None, :] == x[:, None]).to(tl.int32), 1)
    number = tl.arange(0, ADDED)
    equal = x[None, :] == x[:, None]
    earlier = tl.sum((equal & (number[None, :] < number[:, None])).to(tl.int32), 1)
    fresh = (x < _NOWHERE) & (known == 0) & (earlier == 0)
    others = tl.where(fresh, x, _NOWHERE)
    place += tl.sum((others[None, :] < x[:, None]).to(tl.int32), 1)
    tl.store(entries + begin + place, _entry(x, _most(equal, low), _most(equal, high)), mask=fresh)
    gates: tl.constexpr = 2 * COUNT * STEPS
    picked = number - 2 * STEPS
    named = tl.where(x < _NOWHERE, 2 * (begin + place) + u, 2 * capacity)
    out = gate_entries + (head * tile_count + tile) * gates + picked
    tl.store(out, named, mask=(picked >= 0) & (picked < gates))
    for start in range(0, count, CHUNK):
        index = start + tl.arange(0, CHUNK)
        entry = tl.load(certain + index, mask=index < count, other=0)
        block = tl.where(index < count, entry >> 4, -1)
        before = tl.sum((others[None, :] < block[:, None]).to(tl.int32), 1)
        same = x[None, :] == block[:, None]
        lows = tl.maximum(_rank(entry & 3), _most(same, low))
        highs = tl.maximum(_rank(entry >> 2 & 3), _most(same, high))
        tl.store(entries + begin + index + before, _entry(block, lows, highs), mask=index < count)
    out = rows + (head * tile_count + tile) * 2
    tl.store(out, begin)
    tl.store(out + 1, begin + count + tl.sum(fresh.to(tl.int32)))


@triton.jit(do_not_specialize=BY_LENGTHS)
def count_readers(
    used, tiles, tile_blocks, order, rows, entries, counts, tile_count, documents,
    KV_HEADS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """A key tile (by row) of a key head a program: how many halves of query tiles read it."""
    row, head = tl.program_id(0), tl.program_id(1)
    total = tl.zeros([CHUNK], tl.int32)
    if row < tl.load(used + documents):
        tile = tl.load(order + row)
        own, last = _place(tiles, tile)
        for start in range(own, last, CHUNK):
            query = start + tl.arange(0, CHUNK)
            even, odd = _readers(tiles, tile_blocks, order, rows, entries, tile, head, query, own, last, tile_count)
            total += (even > 0).to(tl.int32) + (odd > 0).to(tl.int32)
    tl.store(counts + (KV_HEADS + head) * tile_count + row, tl.sum(total))


@triton.jit(do_not_specialize=BY_LENGTHS)
def list_readers(
    used, tiles, tile_blocks, order, rows, entries, counts, begins, key_entries, key_parts,
    tile_count, documents, per_head, limit, KV_HEADS: tl.constexpr, CHUNK: tl.constexpr, SUMS: tl.constexpr,
):  # fmt: skip
    """As `count_readers`: writes where the tile's list begins, its slots for partial results, and the list."""
    row, head = tl.program_id(0), tl.program_id(1)
    counts += (KV_HEADS + head) * tile_count
    before = tl.zeros([SUMS], tl.int32)
    slots = tl.zeros([SUMS], tl.int32)
    for start in range(0, row, SUMS):
        index = start + tl.arange(0, SUMS)
        count = tl.load(counts + index, mask=index < row, other=0)
        before += count
        slots += item_slots(count, limit)
    begin, slot, count = head * per_head + tl.sum(before), tl.sum(slots), tl.load(counts + row)
    tl.store(begins + (KV_HEADS + head) * tile_count + row, begin)
    tl.store(begins + (2 * KV_HEADS + head) * tile_count + row, slot)
    live = row < tl.load(used + documents)
    tile = tl.load(order + row, mask=live, other=0)
    tile = tl.where(live, tile, row)
    parts = key_parts + (head * tile_count + tile) * 2
    tl.store(parts, tl.where(count > limit, slot, 0))
    tl.store(parts + 1, item_slots(count, limit))
    if live:
        own, last = _place(tiles, tile)
        for start in range(own, last, CHUNK):
            query = start + tl.arange(0, CHUNK)
            even, odd = _readers(tiles, tile_blocks, order, rows, entries, tile, head, query, own, last, tile_count)
            lower, upper = (even > 0).to(tl.int32), (odd > 0).to(tl.int32)
            out = key_entries + begin + tl.cumsum(lower + upper) - lower - upper
            tl.store(out, query * 2 << 4 | even, mask=even > 0)
            tl.store(out + lower, query * 2 + 1 << 4 | odd, mask=odd > 0)
            begin += tl.sum(lower + upper)


@triton.jit
def _added(
    tiles, tile_blocks, counts, chosen, tile, head, block_count,
    PATTERN_HEADS: tl.constexpr, COUNT: tl.constexpr, STEPS: tl.constexpr, ADDED: tl.constexpr,
):  # fmt: skip
    # The tile's first half, and each candidate's half of the tile, block of 64 (or _NOWHERE) and ranks by half.
    first, stop = tl.load(tiles + tile * 4), tl.load(tiles + tile * 4 + 1)
    own = (first - tl.load(tiles + tile * 4 + 2)) // _HALF
    index = tl.arange(0, ADDED)
    is_own = index < 2 * STEPS
    picked = tl.where(is_own, 0, index - 2 * STEPS)
    u = tl.where(is_own, index // STEPS, picked // (COUNT * STEPS))
    there = (index < 2 * STEPS * (COUNT + 1)) & (first + u * _HALF < stop)
    there &= tl.load(counts + head // PATTERN_HEADS) > 0
    half = own + u
    at = head * block_count + tl.minimum(tl.load(tile_blocks + tile * 2) + half // STEPS, block_count - 1)
    choice = tl.load(chosen + at * COUNT + picked // STEPS % COUNT, mask=there & (is_own == 0), other=0)
    block = tl.where(is_own, half // STEPS, choice) * STEPS + tl.where(is_own, index, picked) % STEPS
    there &= tl.where(is_own, block <= half, choice >= 0)
    rank = tl.where(there, tl.where(is_own & (block == half), 2, 3), 0)
    return own, u, tl.where(there, block, _NOWHERE), tl.where(u == 0, rank, 0), tl.where(u == 0, 0, rank)


@triton.jit
def _rank(kind):
    return tl.where(kind == 1, 3, tl.maximum(kind - 1, 0))


@triton.jit
def _most(same, ranks):
    return tl.max(tl.where(same, ranks[None, :], 0), 1)


@triton.jit
def _entry(block, low, high):
    return block << 4 | _kind(high) << 2 | _kind(low)


@triton.jit
def _kind(rank):
    return tl.where(rank == 3, 1, tl.where(rank > 0, rank + 1, 0))


@triton.jit
def _place(tiles, tile):
    # The tile's number in its document, and how many the document has.
    start, stop = tl.load(tiles + tile * 4 + 2), tl.load(tiles + tile * 4 + 3)
    return (tl.load(tiles + tile * 4) - start) // _TILE, (stop - start + _TILE - 1) // _TILE


@triton.jit
def _readers(tiles, tile_blocks, order, rows, entries, tile, head, query, own, last, tile_count):
    # The kinds (key half 1 << 2 | key half 0) with which the lower and upper halves of query tiles read the key tile.
    inside = query < last
    at = tl.load(tile_blocks + tile * 2 + 1) + query
    at = head * tile_count + tl.load(order + tl.minimum(at, tile_count - 1), mask=inside, other=0)
    low = tl.load(rows + at * 2, mask=inside, other=0)
    end = tl.load(rows + at * 2 + 1, mask=inside, other=0)
    high = end
    while tl.max(high - low) > 0:
        middle = (low + high) // 2
        below = (tl.load(entries + middle, mask=low < high, other=0) >> 4 < 2 * own) & (low < high)
        low = tl.where(below, middle + 1, low)
        high = tl.where(below, high, middle)
    one = tl.load(entries + low, mask=low < end, other=-16)
    two = tl.load(entries + low + 1, mask=low + 1 < end, other=-16)
    lower = tl.where(one >> 4 == 2 * own, one, 0)
    upper = tl.where(one >> 4 == 2 * own, two, one)
    upper = tl.where(upper >> 4 == 2 * own + 1, upper, 0)
    # A half with fewer than 64 queries needs a mask of them.
    rest = tl.load(tiles + tile * 4 + 3) - tl.load(tiles + tile * 4 + 2) - query * _TILE
    even = _whole(upper & 3, rest >= 64) << 2 | _whole(lower & 3, rest >= 64)
    odd = _whole(upper >> 2 & 3, rest >= 128) << 2 | _whole(lower >> 2 & 3, rest >= 128)
    return even, odd


@triton.jit
def _whole(kind, full):
    return tl.where((kind == 1) & (full == 0), 3, kind)
