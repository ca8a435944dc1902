"""What data chose, as a device plan: the certain entries and the chosen blocks merged by a handful of kernels, no sync.

Each key head makes its own choice, so the plan has one head group per key head. Kinds alone decide what a half sees.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from longwatch.kernels.pattern import TopK
from longwatch.kernels.triton_impl.device_plan import HALF, TILE, DevicePlan
from longwatch.kernels.triton_impl.plan_kernels import count_tiles
from longwatch.kernels.triton_impl.topk_choice import lay_blocks
from longwatch.kernels.triton_impl.topk_fill import Blocks, Lists, block_room, choose, list_choice, parts_of, room
from longwatch.kernels.triton_impl.topk_gradient import Gates
from longwatch.kernels.triton_impl.topk_op import choose_lists

__all__ = ["Selected", "TopKPlan", "chosen_plan", "plan_choice", "select"]


@dataclass(frozen=True, eq=False)
class TopKPlan:
    """A device plan whose head groups, or some of them, add blocks that the data choose."""

    base: DevicePlan  # what is certain; key_block 64, no key lists
    parts: tuple[TopK | None, ...]  # per group; all of one block, a multiple of 64
    blocks: Blocks

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


class Selected(NamedTuple):
    """The plan of one choice, and what its gates' gradient needs."""

    plan: DevicePlan  # one head group per key head; kinds alone decide
    gates: Gates


def plan_choice(base: DevicePlan, parts: tuple[TopK | None, ...], counts: Tensor) -> TopKPlan:
    """The plan of a base plan and its groups' choices; counts: theirs, int32 `[G]` on the device."""
    block = next(part.block for part in parts if part is not None)
    tiles, documents = len(base.tiles), base.documents
    count = block_room(base, block)
    table, tile_blocks, used, before = (
        counts.new_empty(shape) for shape in ((count, 5), (tiles, 2), (documents + 1,), (documents + 1,))
    )
    # Tables that lengths which nobody checked leave holes in must not lead a kernel astray.
    order = counts.new_zeros(tiles)
    if tiles:
        with torch.cuda.device_of(counts):
            sizes = (base.tokens, base.longest)
            for offsets, room, rows in ((used, tiles, TILE), (before, count, block)):
                count_tiles[(1,)](base.cu_seqlens, offsets, documents, room, *sizes, ROWS=rows, CHUNK=2048, num_warps=8)
            lay_blocks[(triton.cdiv(max(count, tiles), 128),)](
                base.cu_seqlens, before, used, base.tiles, table, tile_blocks, order,
                documents, count, tiles, *sizes, documents.bit_length(), BLOCK=block, CHUNK=128,
            )  # fmt: skip
    return TopKPlan(base, parts, Blocks(counts, table, tile_blocks, order, used))


def select(query: Tensor, key: Tensor, plan: TopKPlan, scale: float, *, backward: bool, traced: bool) -> Selected:
    """Chooses blocks for query `[T, H, D]` and key `[T, Hkv, D]` and makes the plan of that; the groups divide Hkv.

    backward=False leaves the key lists empty; traced: by the op, for those that look on.
    """
    if traced:
        tensors, numbers = plan.base.flatten()
        numbers = [plan.block, plan.count, *numbers]
        made = choose_lists(query.detach(), key.detach(), [*plan.blocks, *tensors], numbers, scale, backward)
        lists = Lists(*made)
    else:
        lists = choose(query, key, plan.base, plan.blocks, plan.block, plan.count, scale, backward=backward)
    gates = Gates(lists.gate_entries, lists.chosen, lists.means, plan.blocks.table, plan.blocks.order)
    return Selected(_assemble(plan.base, lists, key.shape[1]), gates)


def chosen_plan(plan: TopKPlan, chosen: Tensor) -> tuple[DevicePlan, Tensor]:
    """The device plan of a choice int32 `[Hkv, M, count]` (as `Gates.chosen`), and the entries of `Gates`."""
    lists = room(chosen, plan.base, len(chosen), plan.block, plan.count, HALF, backward=True)
    lists = lists._replace(chosen=chosen.int().contiguous())
    list_choice(lists, plan.base, plan.blocks)
    return _assemble(plan.base, lists, len(chosen)), lists.gate_entries


def _assemble(base: DevicePlan, lists: Lists, kv_heads: int) -> DevicePlan:
    share = kv_heads // base.groups
    return DevicePlan(
        tokens=base.tokens,
        documents=base.documents,
        longest=base.longest,
        key_block=HALF,
        parts=parts_of(base, len(lists.key_entries) // kv_heads),
        bands=tuple(band for band in base.bands for _ in range(share)),
        cu_seqlens=base.cu_seqlens,
        tiles=base.tiles,
        query_rows=lists.query_rows,
        query_entries=lists.query_entries,
        key_items=lists.key_items,
        key_entries=lists.key_entries,
        key_parts=lists.key_parts,
        band_table=_for_heads(base.band_table, share),
        columns=None if base.columns is None else _for_heads(base.columns, share),
    )


def _for_heads(table: Tensor, share: int) -> Tensor:
    """A group's row for each of its key heads."""
    return table if share == 1 else table.repeat_interleave(share, 0, output_size=share * len(table))
