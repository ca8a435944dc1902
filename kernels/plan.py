"""Which key blocks each query tile reads: built from patterns and lengths in O(tokens + live blocks)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from longwatch.kernels.pattern import Pattern, Sliding

__all__ = ["FULL", "PARTIAL", "Plan", "build_plan"]

PARTIAL: Final = 0
FULL: Final = 1

Int32 = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Plan:
    """Tiles of up to `block_size` queries that start at document starts, and the key blocks each of them reads (CSR).

    Row `group * tiles + tile` owns entries `row_ptr[row]` to `row_ptr[row + 1]`, by rising key. All positions are
    packed rows. A FULL entry needs no mask: every query of the tile sees all its block_size keys. N tiles, E entries.
    What data chooses (topk) is not listed: entries then show what is certain, and the attention adds its choice.
    """

    patterns: tuple[Pattern, ...]  # one per head group
    block_size: int
    cu_seqlens: Int32  # [B + 1]
    tile_start: Int32  # [N] the tile's first query
    tile_stop: Int32  # [N] one past its last query
    document_start: Int32  # [N]
    document_stop: Int32  # [N]
    row_ptr: Int32  # [groups * N + 1]
    key_start: Int32  # [E] the block's first key
    kind: NDArray[np.uint8]  # [E] FULL or PARTIAL

    @property
    def tokens(self) -> int:
        """Packed rows in all."""
        return int(self.cu_seqlens[-1])

    @property
    def tiles(self) -> int:
        """Query tiles of one head group."""
        return len(self.tile_start)

    @property
    def live_blocks(self) -> int:
        """Entries over all head groups."""
        return len(self.key_start)

    @property
    def full_blocks(self) -> int:
        """Entries that need no mask."""
        return int(np.count_nonzero(self.kind == FULL))

    def rows(self, group: int = 0) -> Int32:
        """The group's row pointers, `[N + 1]`."""
        return self.row_ptr[group * self.tiles : (group + 1) * self.tiles + 1]

    def to_dense(self, group: int = 0) -> NDArray[np.bool_]:
        """The group's mask `[T, T]`, true where the entries let a query read a key. For tests: T squared memory."""
        pointers, pattern = self.rows(group), self.patterns[group]
        tile = np.repeat(np.arange(self.tiles), np.diff(pointers))
        entries = slice(pointers[0], pointers[-1])
        steps = np.arange(self.block_size)
        query = self.tile_start[tile, None, None] + steps[:, None]
        key = self.key_start[entries][:, None, None] + steps
        first = self.document_start[tile, None, None]
        inside = (query < self.tile_stop[tile, None, None]) & (key < self.document_stop[tile, None, None])
        seen = pattern.certain(query - first, key - first) | (self.kind[entries] == FULL)[:, None, None]
        query, key, seen = np.broadcast_arrays(query, key, seen & inside)
        mask = np.zeros((self.tokens, self.tokens), dtype=np.bool_)
        mask[query[seen], key[seen]] = True
        return mask


def build_plan(patterns: Pattern | Sequence[Pattern], cu_seqlens: Any, block_size: int) -> Plan:
    """The plan of packed documents for one pattern, or for one pattern per head group.

    cu_seqlens: integers `[B + 1]` from 0 rising to the number of tokens (list, array or CPU tensor). A pattern with
    topk asks for its block as block_size. ValueError says which argument does not hold.
    """
    bounds = _bounds(cu_seqlens)
    chosen = (patterns,) if isinstance(patterns, Pattern) else tuple(patterns)
    if not chosen:
        raise ValueError("patterns: expected at least one, got none")
    if block_size < 1:
        raise ValueError(f"block_size: expected at least 1, got {block_size}")
    for pattern in chosen:
        if pattern.data_chosen is not None and pattern.data_chosen.block != block_size:
            block = pattern.data_chosen.block
            raise ValueError(f"block_size: expected {block}, the block of {pattern.data_chosen}, got {block_size}")
    lengths = np.diff(bounds)
    counts = -(-lengths // block_size)
    document = np.repeat(np.arange(len(lengths)), counts)
    local = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = local * block_size
    last = np.minimum(first + block_size, lengths[document]) - 1
    start = bounds[:-1][document]
    rows = [_rows(_certain(pattern), first, last, int(lengths.max(initial=0)), block_size) for pattern in chosen]
    sizes = np.concatenate([size for size, _, _ in rows])
    keys = np.concatenate([block * block_size + np.repeat(start, size) for size, block, _ in rows])
    return Plan(
        patterns=chosen,
        block_size=block_size,
        cu_seqlens=bounds.astype(np.int32),
        tile_start=(start + first).astype(np.int32),
        tile_stop=(start + last + 1).astype(np.int32),
        document_start=start.astype(np.int32),
        document_stop=bounds[1:][document].astype(np.int32),
        row_ptr=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        key_start=keys.astype(np.int32),
        kind=np.concatenate([kind for _, _, kind in rows]),
    )


def _certain(pattern: Pattern) -> Pattern:
    """What lists the blocks that hold all certain keys: with topk, the query's own block is always among them."""
    own = Sliding(1)
    if pattern.data_chosen is None:
        return pattern
    return own if pattern.fixed is None else pattern.fixed | own


def _bounds(cu_seqlens: Any) -> NDArray[np.int64]:
    bounds = np.asarray(cu_seqlens)
    if bounds.ndim != 1 or not len(bounds) or not np.issubdtype(bounds.dtype, np.integer):
        raise ValueError(f"cu_seqlens: expected integers [B + 1], got {bounds.dtype} {list(bounds.shape)}")
    if bounds[0] != 0 or bool(np.any(np.diff(bounds) < 0)) or bounds[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"cu_seqlens: expected to start at 0 and never fall, below 2**31, got {bounds[:8].tolist()}")
    return bounds.astype(np.int64)


def _rows(
    pattern: Pattern, first: NDArray[Any], last: NDArray[Any], longest: int, block_size: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8]]:
    """Entries per tile, each entry's key block within the document, and its kind; tiles hold queries first to last."""
    positions = np.arange(longest)
    column = np.asarray(pattern.column(positions))
    blocks, at = np.unique(positions[column] // block_size, return_index=True)
    # Far columns come before the band, and both rise, so a row needs no sorting.
    own, lowest = first // block_size, _band_start(pattern, first, block_size) // block_size
    far = np.searchsorted(positions[column][at], last, side="right")
    far = np.minimum(far, np.searchsorted(blocks, lowest, side="left"))
    sizes = far + own - lowest + 1
    tile = np.repeat(np.arange(len(first)), sizes)
    step = np.arange(len(tile)) - np.repeat(np.cumsum(sizes) - sizes, sizes) - far[tile]
    block = lowest[tile] + step
    block[step < 0] = blocks[(step + far[tile])[step < 0]]
    return sizes, block, _kinds(pattern, column, block, first[tile], last[tile], block_size)


def _band_start(pattern: Pattern, first: NDArray[Any], block_size: int) -> NDArray[Any]:
    band = pattern.band
    if not band:
        return np.zeros_like(first) if band is None else first + block_size
    lowest: NDArray[Any] = np.maximum(first - band + 1, 0)
    return lowest


def _kinds(
    pattern: Pattern,
    column: NDArray[np.bool_],
    block: NDArray[Any],
    first: NDArray[Any],
    last: NDArray[Any],
    block_size: int,
) -> NDArray[np.uint8]:
    key = block * block_size
    full = key + block_size - 1 <= first
    if pattern.band is not None:
        # Keys that the tile's last query no longer has in its band must all be columns.
        beyond = np.clip(last - pattern.band + 1, key, key + block_size)
        gaps = np.concatenate([[0], np.cumsum(~column)])
        limit = len(column)
        full &= gaps[np.minimum(beyond, limit)] == gaps[np.minimum(key, limit)]
    return np.where(full, FULL, PARTIAL).astype(np.uint8)
