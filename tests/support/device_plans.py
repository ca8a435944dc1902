"""The device plan written from its contract: by looking at each document's dense mask, in plain NumPy."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from longwatch.kernels import Pattern
from longwatch.kernels.triton_impl.device_plan import DEAD, EDGE, FULL, HALF, SPLIT, TILE, UNBOUNDED, DevicePlan

Mask = NDArray[np.bool_]
Entries = list[int]


def slow_device_plan(patterns: Pattern | list[Pattern], bounds: list[int], key_block: int = 64) -> DevicePlan:
    """What build_device_plan must give for lengths known on the host; memory is the longest document squared."""
    chosen = [patterns] if isinstance(patterns, Pattern) else list(patterns)
    bands = tuple(UNBOUNDED if pattern.band is None else pattern.band for pattern in chosen)
    rows, query, key = [], [[] for _ in chosen], [[] for _ in chosen]
    for start, stop in pairwise(bounds):
        masks = [mask(pattern, stop - start) for pattern in chosen]
        for first in range(0, stop - start, TILE):
            rows.append((start + first, min(start + first + TILE, stop), start, stop))
            for group, seen in enumerate(masks):
                query[group].append(entries(seen, first, key_block))
                key[group].append(entries(seen.T, first, key_block))
    work = [-sum(len(lists[tile]) for lists in query) for tile in range(len(rows))]
    order = np.argsort(work, kind="stable").tolist()
    cuts = [max(SPLIT, 4 * ((TILE - 2 + band) // key_block + 1)) for band in bands]
    items, parts, slots = split(key, order, cuts)
    return DevicePlan(
        tokens=bounds[-1],
        documents=len(bounds) - 1,
        longest=max((stop - start for start, stop in pairwise(bounds)), default=0),
        key_block=key_block,
        parts=slots,
        bands=bands,
        cu_seqlens=torch.tensor(bounds, dtype=torch.int32),
        tiles=ints([rows[tile] for tile in order]).reshape(-1, 4),
        query_rows=spans(query)[:, order],
        query_entries=flat(query),
        key_items=items,
        key_entries=flat(key),
        key_parts=parts[:, order],
        band_table=ints(list(bands)),
        columns=column_table(chosen, bands, bounds),
    )


def mask(pattern: Pattern, length: int) -> Mask:
    position = np.arange(length)
    return np.broadcast_to(pattern.visible(position[:, None], position[None, :]), (length, length))


def entries(seen: Mask, first: int, block_size: int) -> Entries:
    """Of the tile of rows from `first` (the moving side is axis 1): the blocks that are not dead, packed with kinds."""
    found = []
    for block in range(-(-seen.shape[1] // block_size)):
        kinds = [kind(seen, row, block * block_size, block_size) for row in (first, first + HALF)]
        if any(kinds):
            found.append(block << 4 | kinds[1] << 2 | kinds[0])
    return found


def kind(seen: Mask, row: int, start: int, block_size: int) -> int:
    window = seen[row : row + HALF, start : start + block_size]
    if not window.any():
        return DEAD
    return FULL if window.all() and window.shape[1] == block_size else EDGE


def split(
    key: list[list[Entries]], order: list[int], most_entries: list[int]
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Items, the parts of each tile by row, and the most slots of a group."""
    position = np.argsort(order).tolist()
    items, parts = [], []
    for lists, group_spans, most in zip(key, spans(key).tolist(), most_entries, strict=True):
        found, owned, slot = [], [], 0
        for tile, (begin, end) in enumerate(group_spans):
            cuts = list(range(begin, end, most)) or [begin]
            heavy = len(cuts) > 1
            for part, cut in enumerate(cuts):
                found.append((position[tile], cut, min(cut + most, end), slot + part if heavy else -1))
            owned.append((slot, len(cuts)) if heavy else (0, 0))
            slot += len(cuts) if heavy else 0
        assert len(lists) == len(owned)
        items.append(sorted(found, key=lambda item: item[1] - item[2]))
        parts.append(owned)
    longest = max(len(found) for found in items)
    padded = [found + [(-1, 0, 0, -1)] * (longest - len(found)) for found in items]
    slots = max(sum(count for _, count in owned) for owned in parts)
    return ints(padded).reshape(len(key), -1, 4), ints(parts).reshape(len(key), -1, 2), slots


def spans(lists: list[list[Entries]]) -> torch.Tensor:
    """Begin and end `[G, N, 2]` of each tile's entries, tiles by row, groups after each other."""
    sizes = np.array([[len(found) for found in group] for group in lists], dtype=np.int32).reshape(len(lists), -1)
    ends = np.cumsum(sizes.reshape(-1)).reshape(sizes.shape)
    return torch.from_numpy(np.stack([ends - sizes, ends], axis=-1).astype(np.int32))


def flat(lists: list[list[Entries]]) -> torch.Tensor:
    return ints([entry for group in lists for found in group for entry in found])


def ints(values: list[object]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def column_table(patterns: list[Pattern], bands: tuple[int, ...], bounds: list[int]) -> torch.Tensor | None:
    longest = max((stop - start for start, stop in pairwise(bounds)), default=0)
    position = np.arange(-(-max(longest, 1) // TILE) * TILE)
    # A dense group sees every earlier key as it is: its columns would only ask for a mask.
    rows = [pattern.column(position) & (band < UNBOUNDED) for pattern, band in zip(patterns, bands, strict=True)]
    table = np.stack([np.broadcast_to(row, position.shape) for row in rows])
    return torch.from_numpy(table.astype(np.uint8)) if table.any() else None
