"""Keys and values of streams in pages of one key block: a ring for what slides, pinned pages for what stays."""

from dataclasses import dataclass

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.pattern import Global, Pattern, Sliding
from longwatch.kernels.triton_impl.device_plan import HALF

__all__ = ["KVCache", "page_row", "write_cache"]


@triton.jit
def page_row(table, slot, position, PAGES, PINNED, RING, KB: tl.constexpr, PAGED: tl.constexpr):
    """Page of the positions' key block, int64; positions and slot broadcast, table is int32 [slots, PAGES]."""
    block = position // KB
    page = tl.where(block < PINNED, block, PINNED + (block - PINNED) % RING)
    if PAGED:
        return tl.load(table + slot * PAGES + page).to(tl.int64)
    return slot.to(tl.int64) * PAGES + page


@triton.jit(do_not_specialize=["rows", "PAGES", "PINNED", "RING"])
def _write(
    key, value, key_cache, value_cache, table, slot_of, position_of, length_of, rows, PAGES, PINNED, RING,
    key_row, value_row, HKV: tl.constexpr, D: tl.constexpr, KB: tl.constexpr, PAGED: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    head = tl.program_id(1)
    live = at < rows
    slot = tl.load(slot_of + at, mask=live, other=-1)
    position = tl.load(position_of + at, mask=live, other=0)
    block = position // KB
    # Rows whose page a later row of the same call takes are left out: the order of programs must not matter.
    newest = (tl.load(length_of + at, mask=live, other=1) - 1) // KB
    live = live & (slot >= 0) & ((block < PINNED) | (block > newest - RING))
    page = page_row(table, tl.where(live, slot, 0), tl.where(live, position, 0), PAGES, PINNED, RING, KB, PAGED)
    lane = tl.arange(0, D)
    to = ((page * HKV + head) * KB + position % KB)[:, None] * D + lane[None, :]
    source = at.to(tl.int64)[:, None]
    k = tl.load(key + source * key_row + head * D + lane[None, :], mask=live[:, None])
    v = tl.load(value + source * value_row + head * D + lane[None, :], mask=live[:, None])
    tl.store(key_cache + to, k, mask=live[:, None])
    tl.store(value_cache + to, v, mask=live[:, None])


@dataclass(frozen=True, eq=False)
class KVCache:
    """One layer's keys and values of `slots` streams, and what its pattern needs to find them.

    key, value: `[pages in all, Hkv, key_block, D]`. Block b of a stream lies in its page b while b < pinned, else in
    page pinned + (b - pinned) % ring. Page p of slot s is `table[s, p]` where there is a table (int32 [slots, pages of
    a stream], entries may be changed between steps), else `s * pages + p`.
    """

    pattern: Pattern
    key: Tensor
    value: Tensor
    table: Tensor | None
    slots: int
    pinned: int
    ring: int
    chunk: int  # most new tokens of a stream in one step
    capacity: int | None  # tokens of a stream; None: no limit
    band: int  # 2**30 for dense
    columns: Tensor | None  # uint8 [L]: the key position is a column; positions past the end are like the last
    column_blocks: Tensor | None  # int32 [C], rising: key blocks that hold columns
    column_rank: Tensor | None  # int32: how many of them lie before a block; blocks past the end are like the last

    @property
    def pages(self) -> int:
        """Pages of one stream."""
        return self.pinned + self.ring

    @property
    def key_block(self) -> int:
        """Rows of a page."""
        return self.key.shape[2]

    @classmethod
    def of(
        cls,
        pattern: Pattern,
        *,
        slots: int,
        kv_heads: int,
        head_dim: int,
        key_block: int = HALF,
        chunk: int = 16,
        capacity: int = 65_536,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cuda",
        table: Tensor | None = None,
        pages: int | None = None,
    ) -> "KVCache":
        """An empty cache. Sliding and global patterns keep what they can still see; others `capacity` tokens.

        pages: pages in all, for a table; else slots times the pages of a stream.
        """
        pinned, ring, bounded = _pages(pattern, key_block, chunk, capacity)
        shape = (pages or slots * (pinned + ring), kv_heads, key_block, head_dim)
        columns, blocks, rank = _columns(pattern, key_block, capacity, device)
        return cls(
            pattern=pattern,
            # Zeros: a masked weight of 0 times what memory happened to hold could be NaN.
            key=torch.zeros(shape, dtype=dtype, device=device),
            value=torch.zeros(shape, dtype=dtype, device=device),
            table=table,
            slots=slots,
            pinned=pinned,
            ring=ring,
            chunk=chunk,
            capacity=capacity if bounded else None,
            band=2**30 if pattern.band is None else pattern.band,
            columns=columns,
            column_blocks=blocks,
            column_rank=rank,
        )


def write_cache(key: Tensor, value: Tensor, cache: KVCache, slot: Tensor, position: Tensor, length: Tensor) -> None:
    """Puts packed rows `[T, Hkv, D]` where steps find them; per row int32 [T]: slot (-1: none), position, its length.

    length is that of the row's whole sequence: rows that no later token needs are not written.
    """
    rows, heads, width = key.shape
    if rows == 0:
        return
    _write[(triton.cdiv(rows, 16), heads)](
        key, value, cache.key, cache.value, slot if cache.table is None else cache.table, slot, position, length, rows,
        cache.pages, cache.pinned, cache.ring, key.stride(0), value.stride(0),
        HKV=heads, D=width, KB=cache.key_block, PAGED=cache.table is not None, BM=16, num_warps=2,
    )  # fmt: skip


def _pages(pattern: Pattern, key_block: int, chunk: int, capacity: int) -> tuple[int, int, bool]:
    """Pinned pages, ring pages, and whether the stream's length is bounded by them."""
    whole = -(-capacity // key_block)
    if pattern.band is None or not all(isinstance(part, Sliding | Global) for part in pattern.parts):
        return 0, whole, True
    first = max((part.first for part in pattern.parts if isinstance(part, Global)), default=0)
    # From the first new token's band to the last new token, wherever the block borders fall.
    return -(-first // key_block), max(pattern.band + chunk - 2, 0) // key_block + 2, False


def _columns(
    pattern: Pattern, key_block: int, capacity: int, device: torch.device | str
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    if pattern.band is None or all(isinstance(part, Sliding) for part in pattern.parts):
        return None, None, None
    blocks = -(-capacity // key_block)
    if all(isinstance(part, Sliding | Global) for part in pattern.parts):
        blocks = -(-max(part.first for part in pattern.parts if isinstance(part, Global)) // key_block) + 1
    column = np.asarray(pattern.column(np.arange(blocks * key_block)))
    holds = column.reshape(blocks, key_block).any(1)
    rank = np.concatenate([[0], np.cumsum(holds)])
    arrays = (column.astype(np.uint8), np.flatnonzero(holds).astype(np.int32), rank.astype(np.int32))
    found = [torch.from_numpy(array).to(device) for array in arrays]
    return found[0], found[1], found[2]
