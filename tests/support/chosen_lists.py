"""The lists of a choice made with plain torch operations, as the product once did: what its kernels must equal."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from longwatch.kernels.topk import BlockTable
from longwatch.kernels.triton_impl.device_plan import DEAD, FULL, HALF, TILE, DevicePlan
from longwatch.kernels.triton_impl.topk import TopKPlan

__all__ = ["chosen_by_torch"]

# Ranks of the kinds DEAD, EDGE, CAUSAL, FULL: of two entries for one block the higher shows all that the other does.
EVERY_KEY: Final = 3
UP_TO_QUERY: Final = 2


class Merged(NamedTuple):
    """Entries by row (a tile of a group) and rising block, each once."""

    entries: Tensor  # int32 [C], 0 past the last
    rows: Tensor  # int64 [C], 0 past the last
    spans: Tensor  # int32 [rows, 2] begin, end
    place: Tensor  # int64 [C], where each candidate went; C for those that are none


def merge(rows: Tensor, blocks: Tensor, ranks: Tensor, row_count: int, span: int) -> Merged:
    """Candidates `[C]` (row -1 for none, block below span, ranks of both halves `[C, 2]`) sorted, each block once."""
    capacity = len(rows)
    none = row_count * span
    order = torch.where(rows >= 0, rows * span + blocks, none)
    order, source = torch.sort(order, stable=True)
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = order[1:] != order[:-1]
    fresh &= order < none
    place = torch.where(order < none, fresh.cumsum(0) - 1, capacity)
    best = torch.zeros(capacity + 1, 2, dtype=torch.int64, device=rows.device)
    best.scatter_reduce_(0, place[:, None].expand(-1, 2), ranks[source].long(), "amax")
    merged = torch.zeros(capacity + 1, dtype=torch.int64, device=rows.device).scatter_(0, place, order)[:-1]
    kinds = _kind(best[:-1])
    live = torch.arange(capacity, device=rows.device) < fresh.sum()
    entries = torch.where(live, merged % span << 4 | kinds[:, 1] << 2 | kinds[:, 0], 0)
    counts = torch.zeros(row_count + 1, dtype=torch.int64, device=rows.device)
    counts.scatter_add_(0, torch.where(fresh, order // span, row_count), fresh.long())
    ends = counts[:-1].cumsum(0)
    spans = torch.stack([ends - counts[:-1], ends], dim=1).int()
    back = torch.empty_like(place).scatter_(0, source, place)
    return Merged(entries.int(), torch.where(live, merged // span, 0), spans, back)


def rank(kinds: Tensor) -> Tensor:
    """Ranks of kinds, same shape."""
    return torch.where(kinds == FULL, EVERY_KEY, (kinds - 1).clamp(min=0))


def _kind(ranks: Tensor) -> Tensor:
    return torch.where(ranks == EVERY_KEY, FULL, torch.where(ranks > 0, ranks + 1, DEAD))


# Entries of one key item.
_ITEM: Final = 128


class _Tiles(NamedTuple):
    """The plan's tiles seen from their documents, int64."""

    start: Tensor  # [N] document start
    half: Tensor  # [N] number of the tile's first half in its document
    live: Tensor  # [N, 2] rows of each half
    document: Tensor  # [N]
    by_order: Tensor  # [N] the tile at each place when counted by row
    before: Tensor  # [B] tiles of earlier documents


def chosen_by_torch(plan: TopKPlan, chosen: Tensor, table: BlockTable) -> tuple[DevicePlan, Tensor, Tensor]:
    """The device plan of a choice, the entries of `Selected`, and the table's row `[N, 2]` of each half's block.

    chosen: int64 `[Hkv, blocks, count]` from the document's start, -1 for none, one for each row of the table.
    """
    kv_heads = len(chosen)
    tiles = _tiles(plan.base)
    span = max(1, -(-plan.tokens // HALF))
    block_of_half = _block_of_half(plan, tiles, table)
    picked = _picked(plan, chosen, block_of_half, tiles)
    candidates = [_certain(plan.base, kv_heads), _own(plan, tiles, kv_heads), picked]
    rows, blocks = (torch.cat([part[at].flatten() for part in candidates]) for at in range(2))
    ranks = torch.cat([part[2].flatten(0, -2) for part in candidates])
    query = merge(rows, blocks, ranks, kv_heads * len(plan.base.tiles), span)
    # A certain entry may show both halves of a tile something, and then stands in two rows of the key side.
    most = len(rows) + kv_heads * len(plan.base.query_entries)
    key = _key_side(query, tiles, kv_heads, span, most)
    capacity = len(query.entries)
    begin = capacity - picked[0].numel()
    halves = torch.arange(2, device=rows.device)[:, None, None]
    at = query.place[begin:].view(picked[0].shape)
    index = torch.where(at < capacity, 2 * at + halves, 2 * capacity)
    return _assemble(plan.base, query, key, kv_heads), index, block_of_half


def _tiles(base: DevicePlan) -> _Tiles:
    first, stop, start, _ = base.tiles.long().T.contiguous()
    bounds = base.cu_seqlens.long()
    # The last document that starts here: empty ones before it start here too.
    document = (torch.searchsorted(bounds, start, right=True) - 1).clamp(max=max(base.documents - 1, 0))
    counts = (bounds[1:] - bounds[:-1] + TILE - 1) // TILE
    before = counts.cumsum(0) - counts
    used = stop > first
    number = torch.arange(len(first), device=first.device)
    place = torch.where(used, before[document] + (first - start) // TILE, len(first))
    by_order = torch.zeros(len(first) + 1, dtype=torch.int64, device=first.device).scatter_(0, place, number)[:-1]
    live = (stop - first)[:, None] - torch.arange(0, TILE, HALF, device=first.device)
    return _Tiles(start, (first - start) // HALF, live.clamp(0, HALF), document, by_order, before)


def _block_of_half(plan: TopKPlan, tiles: _Tiles, table: BlockTable) -> Tensor:
    """Row of the table `[N, 2]` of the block that each half of a tile lies in; anything for a dead half."""
    block, bounds = plan.block, plan.base.cu_seqlens.long()
    counts = (bounds[1:] - bounds[:-1] + block - 1) // block
    first = (counts.cumsum(0) - counts)[tiles.document]
    return (first[:, None] + _halves(tiles) // (block // HALF)).clamp(max=max(len(table.local) - 1, 0))


def _halves(tiles: _Tiles) -> Tensor:
    """Number in its document of each half `[N, 2]`."""
    return tiles.half[:, None] + torch.arange(2, device=tiles.half.device)


def _certain(base: DevicePlan, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """The base plan's entries for every key head: rows `[Hkv, E]`, blocks and ranks `[Hkv, E, 2]`."""
    groups, tiles = base.groups, len(base.tiles)
    begin, end = base.query_rows.long().flatten(0, 1).unbind(1)
    capacity = len(base.query_entries)
    row = torch.arange(len(begin), device=begin.device)
    # Each entry's row: marked where a row's entries begin, and carried on to its last.
    owner = torch.full((capacity + 1,), -1, dtype=torch.int64, device=begin.device)
    owner.scatter_(0, torch.where(end > begin, begin, capacity), row)
    number = torch.arange(capacity, device=begin.device)
    marked = torch.where(owner[:-1] >= 0, number, -1).cummax(0).values.clamp(min=0)
    owner = owner[marked] if capacity else owner[:0]
    owner = torch.where((owner >= 0) & (number < end[owner.clamp(min=0)]), owner, -1)
    entries = base.query_entries.long()
    group, share = owner // max(tiles, 1), kv_heads // groups
    head = torch.arange(kv_heads, device=begin.device)[:, None]
    rows = torch.where((owner >= 0) & (group == head // share), head * tiles + owner % max(tiles, 1), -1)
    ranks = rank(torch.stack([entries & 3, entries >> 2 & 3], dim=-1))
    return rows, (entries >> 4).expand(kv_heads, -1), ranks.expand(kv_heads, -1, -1)


def _own(plan: TopKPlan, tiles: _Tiles, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each half's own block as far as the half: rows, blocks `[Hkv, N, 2, R]` and ranks `[..., 2]`."""
    steps = plan.block // HALF
    half = _halves(tiles)[..., None]
    blocks = half // steps * steps + torch.arange(steps, device=half.device)
    there = (tiles.live > 0)[..., None] & (blocks <= half)
    ranks = torch.where(blocks < half, EVERY_KEY, UP_TO_QUERY)
    return _for_heads(plan, there.expand(kv_heads, -1, -1, -1), blocks, ranks)


def _picked(plan: TopKPlan, chosen: Tensor, block_of_half: Tensor, tiles: _Tiles) -> tuple[Tensor, Tensor, Tensor]:
    """The chosen blocks: rows, blocks `[Hkv, N, 2, count, R]` and ranks `[..., 2]`."""
    steps = plan.block // HALF
    picked = chosen[:, block_of_half][..., None]
    there = (picked >= 0) & (tiles.live > 0)[..., None, None]
    blocks = picked.clamp(min=0) * steps + torch.arange(steps, device=chosen.device)
    return _for_heads(plan, there.expand_as(blocks), blocks, torch.full_like(blocks, EVERY_KEY))


def _for_heads(plan: TopKPlan, there: Tensor, blocks: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Candidates of the key heads that choose; `there` is `[Hkv, N, 2, ...]`, the others broadcast to it."""
    kv_heads, tiles = there.shape[:2]
    chooses = (plan.blocks.counts > 0).repeat_interleave(kv_heads // plan.groups, output_size=kv_heads)
    tail = [1] * (there.ndim - 2)
    number = torch.arange(kv_heads * tiles, device=there.device).view(kv_heads, tiles, *tail)
    upper = torch.arange(2, device=there.device).view(2, *tail[1:])
    by_half = torch.stack([ranks * (1 - upper), ranks * upper], dim=-1)
    return (
        torch.where(there & chooses.view(-1, 1, *tail), number, -1),
        blocks.expand_as(there),
        by_half.expand(*there.shape, 2),
    )


def _key_side(query: Merged, tiles: _Tiles, kv_heads: int, span: int, most: int) -> Merged:
    """The same entries by key tile: query blocks of 64 rows, kinds by 64 keys; `most` of them can be."""
    count = len(tiles.start)
    entries = query.entries.long()
    tile, block = query.rows % max(count, 1), entries >> 4
    ranks = rank(torch.stack([entries & 3, entries >> 2 & 3], dim=1))
    # A half with fewer than 64 queries needs a mask of them.
    ranks = torch.where((ranks == EVERY_KEY) & (tiles.live[tile] < HALF), UP_TO_QUERY, ranks)
    key_tile = tiles.by_order[(tiles.before[tiles.document[tile]] + block // 2).clamp(max=max(count - 1, 0))]
    rows = (query.rows // max(count, 1) * count + key_tile)[:, None].expand(-1, 2)
    upper = (block % 2)[:, None]
    by_half = torch.stack([ranks * (1 - upper), ranks * upper], dim=-1)
    rows = torch.where(ranks > 0, rows, -1)
    found = merge(rows.flatten(), _halves(tiles)[tile].flatten(), by_half.flatten(0, 1), kv_heads * count, span)
    return found._replace(entries=found.entries[:most])


def _assemble(base: DevicePlan, query: Merged, key: Merged, kv_heads: int) -> DevicePlan:
    tiles, share = len(base.tiles), kv_heads // base.groups
    spans = key.spans.view(kv_heads, tiles, 2).long()
    # No tile has more entries than there are query blocks, so short packs are never split.
    per_head = len(key.entries) // kv_heads
    parts = 0 if base.tokens <= _ITEM * HALF else 2 * per_head // _ITEM
    items, slots = _items(spans, base.tiles, tiles + per_head // _ITEM if parts else tiles)
    return DevicePlan(
        tokens=base.tokens,
        documents=base.documents,
        longest=base.longest,
        key_block=HALF,
        parts=parts,
        bands=tuple(band for band in base.bands for _ in range(share)),
        cu_seqlens=base.cu_seqlens,
        tiles=base.tiles,
        query_rows=query.spans.view(kv_heads, tiles, 2),
        query_entries=query.entries,
        key_items=items,
        key_entries=key.entries,
        key_parts=slots,
        band_table=base.band_table.repeat_interleave(share, output_size=kv_heads),
        columns=None if base.columns is None else base.columns.repeat_interleave(share, 0, output_size=kv_heads),
    )


def _items(spans: Tensor, tiles: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """Key items int32 `[Hkv, capacity, 4]`, longest first, and the slots `[Hkv, N, 2]` of split tiles; spans int64."""
    size = spans[..., 1] - spans[..., 0]
    counts = torch.where(tiles[:, 1] > tiles[:, 0], ((size + _ITEM - 1) // _ITEM).clamp(min=1), 0)
    split = torch.where(counts > 1, counts, 0)
    slots = torch.where(counts > 1, split.cumsum(1) - split, 0)
    ends = counts.cumsum(1)
    number = torch.arange(capacity, device=spans.device).expand(len(spans), -1).contiguous()
    tile = torch.searchsorted(ends, number, right=True)
    live = tile < spans.shape[1]
    tile = tile.clamp(max=max(spans.shape[1] - 1, 0))
    step = number - (ends - counts).gather(1, tile)
    begin = spans[..., 0].gather(1, tile) + step * _ITEM
    end = torch.minimum(begin + _ITEM, spans[..., 1].gather(1, tile))
    part = torch.where(counts.gather(1, tile) > 1, slots.gather(1, tile) + step, -1)
    columns = (torch.where(live, tile, -1), torch.where(live, begin, 0), torch.where(live, end, 0))
    items = torch.stack([*columns, torch.where(live, part, -1)], dim=-1)
    longest = torch.sort(torch.where(live, begin - end, 1), dim=1, stable=True).indices
    return items.gather(1, longest[..., None].expand(-1, -1, 4)).int(), torch.stack([slots, split], dim=-1).int()
