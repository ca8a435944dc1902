# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The launches that fill a plan: count documents' tiles, lay and measure the tiles, order them, fill the lists.

Scratch, int32: offsets [B + 1] tiles before each document; rows [N, 4] tiles by row; counts [2G + 1, N] query entries,
key entries, then all query entries of a tile (-1: no tile); begins [3G, N] query, key and slot offsets; place [N] of
each row in the plan's order. A group's table: band, first columns and first gaps by cell, block ranks, column blocks.
"""

import triton
import triton.language as tl

from longwatch.kernels.triton_impl.plan_entries import fill_key, fill_query, keys_of, queries_of, table_width

__all__ = [
    "count_tiles", "cut_items", "document_rows", "fill_lists", "item_slots", "lay_tiles", "order_tiles", "owner",
]  # fmt: skip

_TILE = tl.constexpr(128)
_SPLIT = tl.constexpr(64)
# New lengths must not compile anew, so no kernel is specialised by a count.
_SIZES = ["documents", "tiles", "tokens", "longest"]


@triton.jit(do_not_specialize=_SIZES)
def count_tiles(bounds, offsets, documents, tiles, tokens, longest, ROWS: tl.constexpr, CHUNK: tl.constexpr):
    """One program: how many tiles of ROWS come before each document, never more than there is room for."""
    total = tl.zeros((), tl.int32)
    tl.store(offsets, 0)
    for start in range(0, documents, CHUNK):
        index = start + tl.arange(0, CHUNK)
        inside = index < documents
        first, stop = document_rows(bounds, index, inside, tokens, longest)
        own = (stop - first + ROWS - 1) // ROWS
        tl.store(offsets + index + 1, tl.minimum(total + tl.cumsum(own), tiles), mask=inside)
        total += tl.sum(own)


@triton.jit(do_not_specialize=[*_SIZES, "groups", "cells", "steps"])
def lay_tiles(
    bounds,
    offsets,
    tables,
    rows,
    counts,
    documents,
    tiles,
    tokens,
    longest,
    groups,
    cells,
    steps,
    KEY_BLOCK: tl.constexpr,
    BACKWARD: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """CHUNK tiles a program: their rows and documents, and how many entries each will have."""
    row = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    room = row < tiles
    live = row < tl.load(offsets + documents)
    document = owner(offsets, row, documents, steps)
    start, stop = document_rows(bounds, document, live, tokens, longest)
    first = tl.where(live, (row - tl.load(offsets + document)) * _TILE, 0)
    length = stop - start
    last = tl.maximum(tl.minimum(first + _TILE, length) - 1, 0)
    tl.store(rows + row * 4, start + first, mask=room)
    tl.store(rows + row * 4 + 1, tl.where(live, start + last + 1, 0), mask=room)
    tl.store(rows + row * 4 + 2, start, mask=room)
    tl.store(rows + row * 4 + 3, stop, mask=room)
    work = tl.zeros((CHUNK,), tl.int32)
    for group in range(groups):
        table = tables + group * table_width(cells, KEY_BLOCK)
        _band, _far, count = keys_of(table, cells, first, last, KEY_BLOCK)
        count = tl.where(live, count, 0)
        work += count
        tl.store(counts + group * tiles + row, count, mask=room)
        if BACKWARD:
            _first, count = queries_of(table, first, last, length, KEY_BLOCK)
            tl.store(counts + (groups + group) * tiles + row, tl.where(live, count, 0), mask=room)
    tl.store(counts + 2 * groups * tiles + row, tl.where(live, work, -1), mask=room)


@triton.jit(do_not_specialize=["tiles", "groups", "bins"])
def order_tiles(
    bands, counts, begins, place, tiles, groups, bins, KEY_BLOCK: tl.constexpr, CHUNK: tl.constexpr
):  # fmt: skip
    """A program per amount of work: where its tiles stand, most work first, then by row. The rest: running sums."""
    program = tl.program_id(0)
    if program < bins:
        work = counts + 2 * groups * tiles
        before = tl.zeros((CHUNK,), tl.int32)
        for start in range(0, tiles, CHUNK):
            row = start + tl.arange(0, CHUNK)
            before += (tl.load(work + row, mask=row < tiles, other=-1) > program).to(tl.int32)
        total = tl.sum(before)
        for start in range(0, tiles, CHUNK):
            row = start + tl.arange(0, CHUNK)
            mine = tl.load(work + row, mask=row < tiles, other=-1) == program
            tl.store(place + row, total + tl.cumsum(mine.to(tl.int32)) - 1, mask=mine)
            total += tl.sum(mine.to(tl.int32))
    else:
        _running_sums(bands, counts, begins, program - bins, tiles, groups, KEY_BLOCK, CHUNK)


@triton.jit(do_not_specialize=["documents", "tiles", "groups", "cells"])
def fill_lists(
    offsets,
    tables,
    rows,
    counts,
    begins,
    place,
    out_tiles,
    query_rows,
    query_entries,
    key_entries,
    key_parts,
    documents,
    tiles,
    groups,
    cells,
    KEY_BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """A program per query tile, then one per key tile; axis 1 is the group."""
    row, group = tl.program_id(0) % tiles, tl.program_id(1)
    table = tables + group * table_width(cells, KEY_BLOCK)
    used = row < tl.load(offsets + documents)
    at = tl.load(place + row, mask=used, other=0)
    at = group * tiles + tl.where(used, at, row)
    if tl.program_id(0) < tiles:
        if group == 0:
            four = tl.arange(0, 4)
            tl.store(out_tiles + at * 4 + four, tl.load(rows + row * 4 + four))
        own = group * tiles + row
        begin, count = tl.load(begins + own), tl.load(counts + own)
        tl.store(query_rows + at * 2, tl.where(used, begin, 0))
        tl.store(query_rows + at * 2 + 1, tl.where(used, begin + count, 0))
        fill_query(table, cells, rows + row * 4, query_entries + begin, count, KEY_BLOCK, CHUNK)
    else:
        own = (groups + group) * tiles + row
        begin, count = tl.load(begins + own), tl.load(counts + own)
        slot = tl.load(begins + (2 * groups + group) * tiles + row)
        split = _split(tl.load(table), KEY_BLOCK)
        tl.store(key_parts + at * 2, tl.where(count > split, slot, 0))
        tl.store(key_parts + at * 2 + 1, item_slots(count, split))
        fill_key(table, cells, rows + row * 4, key_entries + begin, count, KEY_BLOCK, CHUNK)


@triton.jit(do_not_specialize=["documents", "tiles", "groups", "items", "limit"])
def cut_items(
    offsets, bands, counts, begins, place, key_items, documents, tiles, groups, items, limit,
    KEY_BLOCK: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """A program per length of item and group: where its items stand, longest first, then by row.

    limit: entries of an item; 0 for what suits the group's band.
    """
    length, group = tl.program_id(0), tl.program_id(1)
    used = tl.load(offsets + documents)
    split = limit
    if limit == 0:
        split = _split(tl.load(bands + group), KEY_BLOCK)
    counts += (groups + group) * tiles
    slots = begins + (2 * groups + group) * tiles
    begins += (groups + group) * tiles
    out = key_items + group * items * 4
    longer = tl.zeros((CHUNK,), tl.int32)
    for start in range(0, used, CHUNK):
        row = start + tl.arange(0, CHUNK)
        count = tl.load(counts + row, mask=row < used, other=0)
        longer += tl.where(length < split, count // split + (count % split > length).to(tl.int32), 0)
    at = tl.sum(longer)
    # Programs of lengths that this group does not have find nothing.
    for start in range(0, used, CHUNK):
        row = start + tl.arange(0, CHUNK)
        mask = row < used
        count = tl.load(counts + row, mask=mask, other=0)
        whole = count // split
        rest = mask & (count % split == length) & ((length > 0) | (count == 0))
        number = tl.where(length == split, whole, rest.to(tl.int32))
        index = at + tl.cumsum(number) - number
        begin = tl.load(begins + row, mask=mask, other=0)
        slot = tl.load(slots + row, mask=mask, other=0)
        tile = tl.load(place + row, mask=mask, other=0)
        for step in range(tl.max(number)):
            part = tl.where(length == split, step, whole)
            to = out + (index + step) * 4
            here = step < number
            tl.store(to, tile, mask=here)
            tl.store(to + 1, begin + part * split, mask=here)
            tl.store(to + 2, begin + part * split + length, mask=here)
            tl.store(to + 3, tl.where(count > split, slot + part, -1), mask=here)
        at += tl.sum(number)
    if length == 0:
        # Shorter than all others, so what room is left after them stays unused.
        for start in range(at * 4, items * 4, CHUNK):
            index = start + tl.arange(0, CHUNK)
            unused = tl.where((index % 4 == 0) | (index % 4 == 3), -1, 0)
            tl.store(out + index, unused, mask=index < items * 4)


@triton.jit
def document_rows(bounds, index, inside, tokens, longest):
    """First and stop row of documents."""
    # Lengths that nobody has checked must not lead a kernel out of its tables.
    first = tl.minimum(tl.maximum(tl.load(bounds + index, mask=inside, other=0), 0), tokens)
    stop = tl.load(bounds + index + 1, mask=inside, other=0)
    return first, tl.maximum(tl.minimum(stop, tl.minimum(tokens, first + longest)), first)


@triton.jit
def owner(offsets, row, documents, steps):
    """The last document that starts at or before each row; steps: binary digits of documents."""
    low = tl.zeros_like(row)
    high = low + documents
    for _ in range(steps):
        middle = (low + high) // 2
        after = tl.load(offsets + tl.minimum(middle, documents - 1) + 1) <= row
        low = tl.where(after & (low < high), middle + 1, low)
        high = tl.where(after, high, middle)
    return tl.minimum(low, documents - 1)


@triton.jit
def _split(band, KEY_BLOCK: tl.constexpr):
    # As PatternTables.split.
    return tl.maximum(_SPLIT, 4 * ((126 + band) // KEY_BLOCK + 1))


@triton.jit
def item_slots(count, split):
    """Partial results of a key tile with count entries."""
    return tl.where(count > split, (count + split - 1) // split, 0)


@triton.jit
def _running_sums(
    bands, counts, begins, line, tiles, groups, KEY_BLOCK: tl.constexpr, CHUNK: tl.constexpr
):  # fmt: skip
    # Lines 0 to G - 1 are query entries, G to 2G - 1 key entries; each side's groups follow each other in one list.
    side = tl.where(line < groups, 0, groups)
    total = tl.zeros((CHUNK,), tl.int32)
    for start in range(side * tiles, line * tiles, CHUNK):
        index = start + tl.arange(0, CHUNK)
        total += tl.load(counts + index, mask=index < line * tiles, other=0)
    begin = tl.sum(total)
    slot = tl.zeros((), tl.int32)
    for start in range(0, tiles, CHUNK):
        row = start + tl.arange(0, CHUNK)
        inside = row < tiles
        count = tl.load(counts + line * tiles + row, mask=inside, other=0)
        tl.store(begins + line * tiles + row, begin + tl.cumsum(count) - count, mask=inside)
        begin += tl.sum(count)
        if side > 0:
            slots = item_slots(count, _split(tl.load(bands + line - groups), KEY_BLOCK))
            tl.store(begins + (groups + line) * tiles + row, slot + tl.cumsum(slots) - slots, mask=inside)
            slot += tl.sum(slots)
