# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The gates' gradient, added to that of queries and keys: a gate is scale times a mean of queries times one of keys."""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS

__all__ = ["Gates", "add_gate_gradient"]


class Gates(NamedTuple):
    """What the gates' gradient needs of a choice of `count` blocks of block = 64 R tokens; N tiles, M blocks."""

    entries: Tensor  # int32 [Hkv, N, 2, count, R], 2 * entry + half; twice the plan's entries for none
    chosen: Tensor  # int32 [Hkv, M, count], from the document's start; -1 for none
    means: Tensor  # float64 [2, Hkv, M, D], of queries and keys
    blocks: Tensor  # int32 [M, 5]
    order: Tensor  # int32 [N]


def add_gate_gradient(grad_query: Tensor, grad_key: Tensor, by_half: Tensor, gates: Gates, scale: float) -> None:
    """Adds to grad_query `[T, H, D]` and grad_key `[T, Hkv, D]`, contiguous, in one fixed order.

    by_half: float32 `[E, 2]`, the gradient of the logits of each entry's halves.
    """
    kv_heads, tiles, _, count, steps = gates.entries.shape
    blocks, lanes = len(gates.blocks), triton.next_power_of_2(count)
    sums = by_half.new_empty(kv_heads, blocks, count)
    _sum_gates[(triton.cdiv(blocks, 32), kv_heads)](
        by_half, gates.entries, gates.blocks, gates.order, sums, tiles, blocks, len(by_half),
        COUNT=count, LANES=lanes, STEPS=steps, ROWS=32,
    )  # fmt: skip
    _add_gradient[(blocks, kv_heads)](
        sums, gates.chosen, gates.means, gates.blocks, grad_query, grad_key, scale, blocks,
        KV_HEADS=kv_heads, GROUP=grad_query.shape[1] // kv_heads, D=grad_query.shape[2],
        COUNT=count, LANES=lanes, STEPS=steps, CHUNK=32,
    )  # fmt: skip


@triton.jit(do_not_specialize=BY_LENGTHS)
def _sum_gates(
    by_half, gate_entries, blocks, order, sums, tile_count, block_count, capacity,
    COUNT: tl.constexpr, LANES: tl.constexpr, STEPS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    # The gradient of each gate [Hkv, M, COUNT]: of all halves of its queries' block and of its keys'.
    row, head = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1)
    slot = tl.arange(0, LANES)[None, :]
    inside = row < block_count
    start = tl.load(blocks + row * 5, mask=inside, other=0)
    stop = tl.load(blocks + row * 5 + 1, mask=inside, other=0)
    half = (row - tl.load(blocks + row * 5 + 2, mask=inside, other=0)) * STEPS
    tile_row = tl.load(blocks + row * 5 + 4, mask=inside, other=0)
    total = tl.zeros([ROWS, LANES], tl.float32)
    for step in range(STEPS):
        live = inside & (start + step * 64 < stop)
        at = tl.minimum(tile_row + (half + step) // 2, tile_count - 1)
        tile = head * tile_count + tl.load(order + at, mask=live, other=0)
        at = (tile * 2 + (half + step) % 2) * (COUNT * STEPS)
        for part in range(STEPS):
            there = live[:, None] & (slot < COUNT)
            named = tl.load(gate_entries + at[:, None] + slot * STEPS + part, mask=there, other=2 * capacity)
            total += tl.load(by_half + named, mask=named < 2 * capacity, other=0.0)
    tl.store(sums + (head * block_count + row[:, None]) * COUNT + slot, total, mask=inside[:, None] & (slot < COUNT))


@triton.jit(do_not_specialize=BY_LENGTHS)
def _add_gradient(
    sums, chosen, means, blocks, grad_query, grad_key, scale, block_count,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr,
    COUNT: tl.constexpr, LANES: tl.constexpr, STEPS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    # A block of a key head a program: the gates of the next block's queries are its mean's; its keys are anyone's.
    block, head = tl.program_id(0), tl.program_id(1)
    start, stop = tl.load(blocks + block * 5), tl.load(blocks + block * 5 + 1)
    first, last = tl.load(blocks + block * 5 + 2), tl.load(blocks + block * 5 + 3)
    if (stop - start < STEPS * 64) | (block + 1 >= last):
        return
    lane = tl.arange(0, D)
    queries = means + head * block_count * D + lane[None, :]
    keys = queries + KV_HEADS * block_count * D
    slot = tl.arange(0, LANES)
    own = (head * block_count + block + 1) * COUNT + slot
    choice = tl.load(chosen + own, mask=slot < COUNT, other=-1)
    weight = tl.load(sums + own, mask=choice >= 0, other=0.0).to(tl.float64)
    key = tl.load(keys + (first + choice)[:, None] * D, mask=(choice >= 0)[:, None], other=0.0)
    added = tl.sum(key * weight[:, None], 0) * scale / (STEPS * 64 * GROUP)
    _add(grad_query, start, head * GROUP, added, KV_HEADS * GROUP, GROUP, D, STEPS)
    total = tl.zeros([D], tl.float64)
    for begin in range(block + 1, last, CHUNK):
        row = begin + tl.arange(0, CHUNK)
        at = (head * block_count + row)[:, None] * COUNT + slot[None, :]
        there = (row < last)[:, None] & (slot < COUNT)[None, :]
        there &= tl.load(chosen + at, mask=there, other=-1) == block - first
        if tl.max(tl.max(there.to(tl.int32), 1), 0) > 0:
            weights = tl.sum(tl.load(sums + at, mask=there, other=0.0).to(tl.float64), 1)
            # A row that did not choose this block may hold anything, and 0 times that is not always 0.
            taken = tl.max(there.to(tl.int32), 1) > 0
            query = tl.load(queries + (row - 1)[:, None] * D, mask=taken[:, None], other=0.0)
            total += tl.sum(query * weights[:, None], 0)
    _add(grad_key, start, head, total * scale / (STEPS * 64), KV_HEADS, 1, D, STEPS)


@triton.jit
def _add(
    gradient, start, head, added, HEADS: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, STEPS: tl.constexpr
):  # fmt: skip
    # Every row of a block gains the same.
    for step in range(STEPS * GROUP):
        row = (start + step // GROUP * 64 + tl.arange(0, 64)).to(tl.int64)
        at = gradient + (row[:, None] * HEADS + head + step % GROUP) * D + tl.arange(0, D)[None, :]
        total = tl.load(at).to(tl.float32) + added.to(tl.float32)[None, :]
        tl.store(at, total.to(gradient.dtype.element_ty))
