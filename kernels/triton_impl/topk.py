"""What data chose, as a device plan: the certain entries and the chosen blocks merged on the device, without a sync.

Each key head makes its own choice, so the plan has one head group per key head. Kinds alone decide what a half sees.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels.pattern import TopK
from longwatch.kernels.topk import BlockTable, Choice, block_table, choose_packed
from longwatch.kernels.triton_impl.device_plan import HALF, SPLIT, TILE, DevicePlan
from longwatch.kernels.triton_impl.merge import EVERY_KEY, UP_TO_QUERY, Merged, merge, rank

__all__ = ["Selected", "TopKPlan", "chosen_plan", "select"]

# Entries of one key item: twice the usual, since any key tile may be split and room for its parts is always there.
_ITEM: Final = 2 * SPLIT


@dataclass(frozen=True, eq=False)
class TopKPlan:
    """A device plan whose head groups, or some of them, add blocks that the data choose."""

    base: DevicePlan  # what is certain; key_block 64, no key lists
    parts: tuple[TopK | None, ...]  # per group; all of one block, a multiple of 64
    choosing: Tensor  # bool [G], which groups choose

    @property
    def tokens(self) -> int:
        """Packed rows in all."""
        return self.base.tokens

    @property
    def groups(self) -> int:
        """Head groups, one pattern each."""
        return len(self.parts)

    @property
    def block(self) -> int:
        """Tokens of a block."""
        return next(part.block for part in self.parts if part is not None)

    @property
    def count(self) -> int:
        """The most blocks that any group chooses."""
        return max(part.count for part in self.parts if part is not None)

    def blocks(self) -> BlockTable:
        """The blocks to choose from, by packed row."""
        capacity = self.tokens // self.block + min(self.base.documents, self.tokens)
        return block_table(self.base.cu_seqlens, self.block, capacity)


class Selected(NamedTuple):
    """The plan of one choice, and what its gates' gradient needs."""

    plan: DevicePlan  # one head group per key head; kinds alone decide
    gate: Tensor  # float32 [Hkv, N, 2, count], the gates of each half of a tile; 0 for none
    entries: Tensor  # int64 [Hkv, N, 2, count, block / 64], 2 * entry + half; twice the plan's entries for none


class _Tiles(NamedTuple):
    """The plan's tiles seen from their documents, int64."""

    start: Tensor  # [N] document start
    half: Tensor  # [N] number of the tile's first half in its document
    live: Tensor  # [N, 2] rows of each half
    document: Tensor  # [N]
    by_order: Tensor  # [N] the tile at each place when counted by row
    before: Tensor  # [B] tiles of earlier documents


def select(query: Tensor, key: Tensor, plan: TopKPlan, scale: float) -> Selected:
    """Chooses blocks for query `[T, H, D]` and key `[T, Hkv, D]` and makes the plan of that; the groups divide Hkv."""
    table = plan.blocks()
    rows = torch.chunk(query, plan.groups, dim=1)
    choices = [
        _of_group(some, keys, table, part, plan.count, scale)
        for some, keys, part in zip(rows, torch.chunk(key, plan.groups, dim=1), plan.parts, strict=True)
    ]
    chosen, gate = (torch.cat(columns) for columns in zip(*choices, strict=True))
    made, entries, block_of_half = chosen_plan(plan, chosen, table)
    return Selected(made, gate[:, block_of_half].float(), entries)


def _of_group(query: Tensor, key: Tensor, table: BlockTable, part: TopK | None, count: int, scale: float) -> Choice:
    """A group's choice `[heads, N, count]`, filled up with none."""
    if part is None:
        gate = key.new_zeros(key.shape[1], len(table.local), count, dtype=torch.float64)
        return Choice(torch.full_like(gate, -1, dtype=torch.int64), gate)
    choice = choose_packed(query, key, table, part, scale)
    spare = (0, count - part.count)
    return Choice(F.pad(choice.blocks, spare, value=-1), F.pad(choice.gate, spare))


def chosen_plan(plan: TopKPlan, chosen: Tensor, table: BlockTable) -> tuple[DevicePlan, Tensor, Tensor]:
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
    chooses = plan.choosing.repeat_interleave(kv_heads // plan.groups, output_size=kv_heads)
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
