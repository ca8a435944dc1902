"""The room of a choice's lists, known on the host, and the launches that fill it."""

import struct
from typing import Final, NamedTuple

import torch
import triton
from torch import Tensor

from longwatch.kernels.triton_impl.device_plan import HALF, SPLIT, DevicePlan
from longwatch.kernels.triton_impl.plan_kernels import cut_items
from longwatch.kernels.triton_impl.topk_choice import choose_blocks, mean_blocks
from longwatch.kernels.triton_impl.topk_lists import count_readers, list_queries, list_readers

__all__ = ["Blocks", "Lists", "block_room", "choose", "list_choice", "parts_of", "room"]

# Entries of one key item: twice the usual, since any key tile may be split and room for its parts is always there.
_ITEM: Final = 2 * SPLIT


class Blocks(NamedTuple):
    """The blocks to choose from and who chooses, int32; N tiles, M blocks, rows past the last block stand alone."""

    counts: Tensor  # [G] how many each group chooses, 0 for none
    table: Tensor  # [M, 5] first row, stop row; of the document: first block, one past the last, first tile by row
    tile_blocks: Tensor  # [N, 2] first block and first tile, by row, of each tile's document
    order: Tensor  # [N] the tile at each place when counted by row
    used: Tensor  # [B + 1] tiles before each document


class Lists(NamedTuple):
    """A choice and a plan's lists of it; the key side is empty where no gradient is wanted."""

    query_rows: Tensor  # these five as in DevicePlan; between two rows' entries may be room that nobody uses
    query_entries: Tensor
    key_items: Tensor
    key_entries: Tensor
    key_parts: Tensor
    gate_entries: Tensor  # int32 [Hkv, N, 2, count, block / 64]
    chosen: Tensor  # int32 [Hkv, M, count]
    means: Tensor  # float64 [2, Hkv, M, D]


def room(like: Tensor, base: DevicePlan, kv_heads: int, block: int, count: int, width: int, *, backward: bool) -> Lists:
    """Lists that nobody has filled."""
    tiles, steps, certain = len(base.tiles), block // HALF, len(base.query_entries)
    added, back = 2 * steps * (count + 1), int(backward)
    # A certain entry may show both halves of a tile something, and then stands in two rows of the key side.
    per_head = (2 * certain + tiles * added) * back
    total = block_room(base, block)

    def ints(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32, device=like.device)

    return Lists(
        query_rows=ints(kv_heads, tiles, 2),
        query_entries=ints(kv_heads // base.groups * certain + kv_heads * tiles * added),
        key_items=ints(kv_heads, tiles * back + parts_of(base, per_head) // 2, 4),
        key_entries=ints(kv_heads * per_head),
        key_parts=ints(kv_heads, tiles * back, 2),
        gate_entries=ints(kv_heads, tiles, 2, count, steps),
        chosen=ints(kv_heads, total, count),
        means=torch.empty(2, kv_heads, total, width, dtype=torch.float64, device=like.device),
    )


def block_room(base: DevicePlan, block: int) -> int:
    """Blocks at most."""
    return base.tokens // block + min(base.documents, base.tokens)


def parts_of(base: DevicePlan, per_head: int) -> int:
    """Room for partial results: no tile has more entries than there are query blocks, so few documents need any."""
    return 0 if base.longest <= _ITEM * HALF else 2 * (per_head // _ITEM)


def choose(
    query: Tensor,
    key: Tensor,
    base: DevicePlan,
    blocks: Blocks,
    block: int,
    count: int,
    scale: float,
    *,
    backward: bool,
) -> Lists:
    """The choice for query `[T, H, D]` and key `[T, Hkv, D]`, D contiguous: three launches, three more for backward."""
    kv_heads, width = key.shape[1:]
    lists = room(key, base, kv_heads, block, count, width, backward=backward)
    total = len(blocks.table)
    if len(base.tiles):
        mean_blocks[(total * kv_heads,)](
            query, key, blocks.table, lists.means, total, *query.stride()[:2], *key.stride()[:2],
            KV_HEADS=kv_heads, GROUP=query.shape[1] // kv_heads, D=width, BLOCK=block, num_warps=2,
        )  # fmt: skip
        choose_blocks[(triton.cdiv(total, 16), kv_heads)](
            lists.means, blocks.table, blocks.counts, lists.chosen, total, _bits(scale),
            KV_HEADS=kv_heads, PATTERN_HEADS=kv_heads // base.groups, D=width,
            COUNT=count, LANES=triton.next_power_of_2(count), ROWS=16, CHUNK=32,
        )  # fmt: skip
    list_choice(lists, base, blocks)
    return lists


def _bits(number: float) -> int:
    # Kernels take a Python float as float32, and the definition multiplies by a float64.
    return int(struct.unpack("<q", struct.pack("<d", number))[0])


def list_choice(lists: Lists, base: DevicePlan, blocks: Blocks) -> None:
    """Fills the lists of what they say is chosen."""
    kv_heads, tiles, _, count, steps = lists.gate_entries.shape
    if not tiles:
        return
    added = 2 * steps * (count + 1)
    list_queries[(tiles, kv_heads)](
        base.tiles, blocks.tile_blocks, blocks.counts, lists.chosen, base.query_rows, base.query_entries,
        lists.query_rows, lists.query_entries, lists.gate_entries,
        tiles, len(blocks.table), len(base.query_entries), len(lists.query_entries),
        PATTERN_HEADS=kv_heads // base.groups, GROUPS=base.groups, COUNT=count, STEPS=steps,
        ADDED=triton.next_power_of_2(added), CHUNK=32, num_warps=1 if added <= 32 else 4 if added <= 64 else 8,
    )  # fmt: skip
    if len(lists.key_entries):
        _list_keys(lists, base, blocks)


def _list_keys(lists: Lists, base: DevicePlan, blocks: Blocks) -> None:
    kv_heads, tiles, per_head = *lists.key_parts.shape[:2], len(lists.key_entries) // len(lists.key_parts)
    counts, begins = (lists.key_entries.new_empty(lines, kv_heads, tiles) for lines in (2, 3))
    sides = (
        blocks.used, base.tiles, blocks.tile_blocks, blocks.order, lists.query_rows, lists.query_entries, counts,
    )  # fmt: skip
    count_readers[(tiles, kv_heads)](*sides, tiles, base.documents, KV_HEADS=kv_heads, CHUNK=32, num_warps=1)
    list_readers[(tiles, kv_heads)](
        *sides, begins, lists.key_entries, lists.key_parts, tiles, base.documents, per_head, _ITEM,
        KV_HEADS=kv_heads, CHUNK=32, SUMS=256, num_warps=1,
    )  # fmt: skip
    # No tile has more entries than there are query blocks.
    lengths = min(_ITEM, triton.cdiv(base.longest, HALF)) + 1
    cut_items[(lengths, kv_heads)](
        blocks.used, base.band_table, counts, begins, blocks.order, lists.key_items, base.documents, tiles, kv_heads,
        lists.key_items.shape[1], _ITEM, KEY_BLOCK=HALF, CHUNK=1024,
    )  # fmt: skip
