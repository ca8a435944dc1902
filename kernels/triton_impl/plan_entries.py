# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""What a tile's entries are, by arithmetic on a group's table: band, first columns and gaps by cell, ranks, blocks."""

import triton
import triton.language as tl

__all__ = ["fill_key", "fill_query", "keys_of", "queries_of", "table_width"]

_TILE = tl.constexpr(128)
_HALF = tl.constexpr(64)


@triton.jit
def table_width(cells, KEY_BLOCK: tl.constexpr):
    """Ints of one group's table."""
    return 2 + 2 * cells + 2 * (cells // (KEY_BLOCK // _HALF))


@triton.jit
def _first_in(cell_table, block, CELLS: tl.constexpr):
    found = tl.load(cell_table + block * CELLS)
    for cell in tl.static_range(1, CELLS):
        found = tl.minimum(found, tl.load(cell_table + block * CELLS + cell))
    return found


@triton.jit
def keys_of(table, cells, first, last, KEY_BLOCK: tl.constexpr):
    """Lowest block of the band, how many column blocks come before it, and the entries, for queries first to last."""
    band = tl.load(table)
    own = last // KEY_BLOCK
    lowest = tl.where(band > 0, tl.maximum(first - band + 1, 0) // KEY_BLOCK, own + 1)
    far = tl.load(table + 1 + 2 * cells + tl.minimum(lowest, own))
    # Without a band the own block counts only if its first column is not ahead of every query.
    far += ((band == 0) & (_first_in(table + 1, own, KEY_BLOCK // _HALF) <= last)).to(tl.int32)
    return lowest, far, far + own - lowest + 1


@triton.jit
def queries_of(table, first, last, length, KEY_BLOCK: tl.constexpr):
    """First query block that sees any of the keys first to last, and how many do: they follow each other."""
    band = tl.load(table)
    column = _first_in(table + 1, first // _TILE, _TILE // _HALF)
    end = (length + KEY_BLOCK - 1) // KEY_BLOCK
    start = tl.where(band > 0, first // KEY_BLOCK, column // KEY_BLOCK)
    reach = tl.where(band > 0, tl.minimum((last + band - 1) // KEY_BLOCK + 1, end), start)
    return start, tl.where(column <= last, end, reach) - start


@triton.jit
def _kind(live, full, near, column):
    return tl.where(live & full, 1, tl.where(live & (near | column), 2, 0))


@triton.jit
def _query_kind(table, cells, first, last, block, mask, KEY_BLOCK: tl.constexpr):
    band = tl.load(table)
    block = tl.where(mask, block, 0)
    key = block * KEY_BLOCK
    key_last = key + KEY_BLOCK - 1
    near = (band > 0) & (key <= last) & (first - key_last < band)
    column = _first_in(table + 1, block, KEY_BLOCK // _HALF) <= tl.minimum(key_last, last)
    # Keys that the last query no longer has in its band must all be columns.
    gap = _first_in(table + 1 + cells, block, KEY_BLOCK // _HALF)
    full = (key_last <= first) & (gap > tl.minimum(key_last, last - band))
    return _kind(first <= last, full, near, column)


@triton.jit
def _key_kind(table, cells, first, last, block, length, KEY_BLOCK: tl.constexpr):
    band = tl.load(table)
    query = block * KEY_BLOCK
    query_last = tl.minimum(query + KEY_BLOCK, length) - 1
    near = (band > 0) & (query_last >= first) & (query - last < band)
    column = tl.load(table + 1 + first // _HALF) <= tl.minimum(last, query_last)
    gap = tl.load(table + 1 + cells + first // _HALF)
    full = (query + KEY_BLOCK <= length) & (query >= last) & (gap > tl.minimum(last, query_last - band))
    return _kind(first <= last, full, near, column)


@triton.jit
def fill_query(table, cells, row, out, count, KEY_BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    """The entries of one query tile; row: its first row, stop row, document start and stop."""
    start = tl.load(row + 2)
    first, last = tl.load(row) - start, tl.maximum(tl.load(row + 1) - start - 1, 0)
    lowest, far, _count = keys_of(table, cells, first, last, KEY_BLOCK)
    column_blocks = table + 2 + 2 * cells + cells // (KEY_BLOCK // _HALF)
    for done in range(0, count, CHUNK):
        index = done + tl.arange(0, CHUNK)
        mask = index < count
        block = tl.load(column_blocks + index, mask=mask & (index < far), other=0)
        block = tl.where(index < far, block, lowest + index - far)
        low = _query_kind(table, cells, first, tl.minimum(first + _HALF - 1, last), block, mask, KEY_BLOCK)
        high = _query_kind(table, cells, first + _HALF, last, block, mask, KEY_BLOCK)
        tl.store(out + index, block << 4 | high << 2 | low, mask=mask)


@triton.jit
def fill_key(table, cells, row, out, count, KEY_BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    """The entries of one key tile; row as for fill_query."""
    start = tl.load(row + 2)
    first, last = tl.load(row) - start, tl.maximum(tl.load(row + 1) - start - 1, 0)
    length = tl.load(row + 3) - start
    block_start, _count = queries_of(table, first, last, length, KEY_BLOCK)
    for done in range(0, count, CHUNK):
        index = done + tl.arange(0, CHUNK)
        block = block_start + index
        low = _key_kind(table, cells, first, tl.minimum(first + _HALF - 1, last), block, length, KEY_BLOCK)
        high = _key_kind(table, cells, first + _HALF, last, block, length, KEY_BLOCK)
        tl.store(out + index, block << 4 | high << 2 | low, mask=index < count)
