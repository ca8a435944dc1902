"""What the host knows of a plan before the device fills it: tables per pattern, and how much room the lists need."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from longwatch.kernels.pattern import Pattern

__all__ = [
    "BY_LENGTHS",
    "HALF",
    "SPLIT",
    "TILE",
    "UNBOUNDED",
    "Capacity",
    "PatternTables",
    "bounded_capacity",
    "exact_capacity",
    "pattern_tables",
]

TILE: Final = 128  # rows of a stationary tile, queries or keys
HALF: Final = 64  # an entry has one kind per half of its tile
SPLIT: Final = 64  # entries of a key item at most, or four times what the band gives every tile
UNBOUNDED: Final = 1 << 30  # the band of a group that sees every earlier key
NEVER: Final = 1 << 30  # no such position in the cell
# Kernel arguments that change with the documents' lengths: no launch may compile anew for their values.
BY_LENGTHS: Final = (
    "tokens", "tile_count", "column_length", "item_count", "part_count", "entry_count", "works", "programs",
    "documents", "longest", "block_count", "capacity", "base_entries", "per_head", "limit",
)  # fmt: skip

Ints = NDArray[Any]


@dataclass(frozen=True)
class Capacity:
    """Room for a plan's lists: exact where the lengths are known on the host, else the most that they can need."""

    tiles: int
    query_entries: int
    key_entries: int
    key_items: int  # per group
    parts: int  # per group
    work: int  # entries of one query tile, over all groups, at most


class PatternTables:
    """One group's band and columns up to position `limit` (a multiple of 128), in cells of 64 positions."""

    def __init__(self, pattern: Pattern, limit: int) -> None:
        self.band = UNBOUNDED if pattern.band is None else pattern.band
        # A dense group sees every earlier key as it is: its columns would only ask for a mask.
        seen = np.asarray(pattern.column(np.arange(limit))) & (self.band < UNBOUNDED)
        self.columns: NDArray[np.bool_] = np.broadcast_to(seen, (limit,))
        self.first_column = _first(self.columns)
        self.first_gap = _first(~self.columns)

    def first_columns(self, granule: int) -> Ints:
        """The first column of each `granule` positions, or NEVER."""
        first: Ints = self.first_column.reshape(-1, granule // HALF).min(axis=1)
        return first

    def rank(self, granule: int) -> Ints:
        """How many granules before each, and before the end, have a column."""
        return np.concatenate([[0], np.cumsum(self.first_columns(granule) < NEVER)])

    def live(self, first: Ints, last: Ints, granule: int) -> Ints:
        """How many granules of keys the queries `first` to `last` (both included) see something of."""
        own, rank = last // granule, self.rank(granule)
        if not self.band:
            # The own granule counts only if its first column is not ahead of every query.
            return np.asarray(rank[own] + (self.first_columns(granule)[own] <= last))
        lowest = np.maximum(first - self.band + 1, 0) // granule
        return np.asarray(rank[lowest] + own - lowest + 1)

    def seen_by(self, first: Ints, last: Ints, length: Ints, key_block: int) -> Ints:
        """How many query blocks of a document of `length` see something of the keys `first` to `last`."""
        column = self.first_columns(TILE)[first // TILE]
        end = -(-length // key_block)
        start = first // key_block if self.band else column // key_block
        reach = np.minimum((last + self.band - 1) // key_block + 1, end) if self.band else start
        return np.asarray(np.where(column <= last, end, reach) - start)

    def split(self, key_block: int) -> int:
        """Entries from which a key tile is cut: where all tiles are as heavy, nothing is gained by it."""
        return max(SPLIT, 4 * ((TILE - 2 + self.band) // key_block + 1))

    def rows(self, key_block: int) -> NDArray[np.int32]:
        """What the kernels read: band, first columns and first gaps by cell, then ranks and column blocks."""
        rank = self.rank(key_block)
        blocks = np.zeros(len(rank) - 1)
        blocks[: rank[-1]] = np.flatnonzero(np.diff(rank))
        parts = [np.array([self.band]), self.first_column, self.first_gap, rank, blocks]
        return np.asarray(np.concatenate(parts), np.int32)


@lru_cache(maxsize=64)
def pattern_tables(patterns: tuple[Pattern, ...], limit: int) -> tuple[PatternTables, ...]:
    """The tables of each group, kept."""
    return tuple(PatternTables(pattern, limit) for pattern in patterns)


def exact_capacity(tables: tuple[PatternTables, ...], lengths: Ints, key_block: int) -> Capacity:
    """The room that documents of these lengths need; parts and items as the group with the most needs them."""
    counts = -(-lengths // TILE)
    length = np.repeat(lengths, counts)
    first = (np.arange(len(length)) - np.repeat(np.cumsum(counts) - counts, counts)) * TILE
    last = np.minimum(first + TILE, length) - 1
    query = sum(table.live(first, last, key_block) for table in tables)
    keys = [table.seen_by(first, last, length, key_block) for table in tables]
    splits = [table.split(key_block) for table in tables]
    slots = [np.where(key > split, -(-key // split), 0) for key, split in zip(keys, splits, strict=True)]
    return Capacity(
        tiles=len(first),
        query_entries=int(np.sum(query)),
        key_entries=int(sum(key.sum() for key in keys)),
        key_items=max(int(np.maximum(slot, 1).sum()) for slot in slots),
        parts=max(int(slot.sum()) for slot in slots),
        work=int(np.max(query, initial=0)),
    )


@lru_cache(maxsize=256)
def bounded_capacity(
    patterns: tuple[Pattern, ...], limit: int, tokens: int, documents: int, longest: int, key_block: int
) -> Capacity:
    """The room that any `documents` of at most `longest` tokens, `tokens` in all, can need."""
    tables = pattern_tables(patterns, limit)
    tiles = (tokens + (TILE - 1) * min(documents, tokens)) // TILE
    first = np.arange(0, longest, TILE)
    query = sum(table.live(first, np.minimum(first + TILE, longest) - 1, key_block) for table in tables)
    keys = sum(_added_keys(table, longest, key_block) for table in tables)
    parts = max(_parts(table, tokens, longest, key_block, tiles) for table in tables)
    return Capacity(
        tiles=tiles,
        query_entries=_worst(np.asarray(query), tiles),
        key_entries=_worst(np.asarray(keys), tiles),
        key_items=tiles + parts,
        parts=parts,
        work=int(np.max(query, initial=0)),
    )


def _worst(added: Ints, tiles: int) -> int:
    """Entries of `tiles` tiles in documents of up to len(added), when a document's n-th tile adds added[n]."""
    if not len(added):
        return 0
    # Later tiles add no less once the counts are made to rise, so few long documents need the most.
    total = np.concatenate([[0], np.cumsum(np.maximum.accumulate(added))])
    return int(tiles // len(added) * total[-1] + total[tiles % len(added)])


def _parts(table: PatternTables, tokens: int, longest: int, key_block: int, tiles: int) -> int:
    split = table.split(key_block)
    if -(-longest // key_block) <= split:
        return 0
    # Only tiles with a column, in documents of more than split blocks, are heavier than the band makes them.
    heavy = int(np.count_nonzero(table.first_columns(TILE)[: -(-longest // TILE)] < NEVER))
    documents = tokens // (split * key_block)
    in_columns = heavy * (-(-tokens // key_block) + split * documents) // split
    in_all = (_worst(_added_keys(table, longest, key_block), tiles) + (split - 1) * tiles) // split
    return min(in_columns, in_all)


def _added_keys(table: PatternTables, longest: int, key_block: int) -> Ints:
    """Entries of key tiles that each tile of queries adds: those of its query blocks, as many as the document has."""
    start = np.arange(-(-longest // TILE) * TILE // key_block) * key_block
    added = table.live(start, np.minimum(start + key_block, longest) - 1, TILE) * (start < longest)
    return np.asarray(added.reshape(-1, TILE // key_block).sum(axis=1))


def _first(flags: NDArray[np.bool_]) -> Ints:
    cells = flags.reshape(-1, HALF)
    starts = np.arange(len(cells)) * HALF
    return np.where(cells.any(axis=1), starts + cells.argmax(axis=1), NEVER)
