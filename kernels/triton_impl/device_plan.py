"""The plan as the GPU kernels read it: tiles, entries and work items as int32 tensors on one device."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
import triton
from numpy.typing import NDArray
from torch import Tensor

from longwatch.kernels.pattern import Pattern
from longwatch.kernels.triton_impl.plan_kernels import count_tiles, cut_items, fill_lists, lay_tiles, order_tiles
from longwatch.kernels.triton_impl.plan_tables import (
    HALF,
    SPLIT,
    TILE,
    UNBOUNDED,
    Capacity,
    bounded_capacity,
    exact_capacity,
    pattern_tables,
)

__all__ = ["CAUSAL", "DEAD", "EDGE", "FULL", "HALF", "SPLIT", "TILE", "UNBOUNDED", "DevicePlan", "build_device_plan"]

DEAD: Final = 0
FULL: Final = 1
EDGE: Final = 2
CAUSAL: Final = 3  # only where data choose: the half sees every key of the document up to the query


@dataclass(frozen=True, eq=False)
class DevicePlan:
    """Tiles of up to 128 rows that start at document starts, and the blocks each reads, one list per head group.

    T tokens, B documents, G groups, N tiles; int32 unless said. An entry is `block << 4 | kind of half 1 << 2 | kind
    of half 0`; block b holds rows b * key_block and on of its document. DEAD: nothing visible; FULL: every live row of
    the half sees the whole block (for keys: the whole block sees every live key of the half); EDGE: a mask is needed.
    """

    tokens: int
    documents: int
    longest: int  # rows of a document at most
    key_block: int  # 64 or 128, rows of a moving block
    parts: int  # capacity of partial slots per group; 0 where nothing is ever split
    bands: tuple[int, ...]  # per group; UNBOUNDED for dense, 0 for none
    cu_seqlens: Tensor  # [B + 1]
    tiles: Tensor  # [N, 4] first row, stop row, document start, document stop; longest forward work first, then by row
    query_rows: Tensor  # [G, N, 2] begin, end in query_entries
    query_entries: Tensor  # [E] key blocks by rising key, kinds by 64 queries
    key_items: Tensor  # [G, M, 4] tile, begin, end, partial slot or -1; longest first; unused: -1, 0, 0, -1
    key_entries: Tensor  # [F] query blocks by rising query, kinds by 64 keys
    key_parts: Tensor  # [G, N, 2] first slot, number of slots of a split tile; 0, 0 for others
    band_table: Tensor  # [G] the bands on the device
    columns: Tensor | None  # uint8 [G, L] 1 where every later query sees the key, by place in the document

    @property
    def groups(self) -> int:
        """Head groups, one pattern each."""
        return len(self.bands)

    def column_rows(self) -> tuple[Tensor, int]:
        """What kernels take for columns and their row length: the table, or any tensor where no group has one."""
        return (self.tiles, 0) if self.columns is None else (self.columns, self.columns.shape[1])

    def flatten(self) -> tuple[list[Tensor], list[int]]:
        """Its tensors and its numbers, as `torch.library` ops take them."""
        tensors = [
            self.cu_seqlens,
            self.tiles,
            self.query_rows,
            self.query_entries,
            self.key_items,
            self.key_entries,
            self.key_parts,
            self.band_table,
        ]
        if self.columns is not None:
            tensors.append(self.columns)
        return tensors, [self.tokens, self.documents, self.longest, self.key_block, self.parts, *self.bands]

    @classmethod
    def unflatten(cls, tensors: list[Tensor], numbers: list[Any]) -> "DevicePlan":
        """What `flatten` took apart."""
        tokens, documents, longest, key_block, parts, *bands = numbers
        lists: list[Any] = [*tensors, None]
        return cls(tokens, documents, longest, key_block, parts, tuple(bands), *lists[:9])


def build_device_plan(
    patterns: Pattern | Sequence[Pattern],
    cu_seqlens: Any,
    *,
    device: torch.device | str | None = None,
    tokens: int | None = None,
    max_seqlen: int | None = None,
    key_block: int | None = None,
    backward: bool = True,
) -> DevicePlan:
    """The device plan of packed documents for one pattern or one per head group, filled on the device.

    cu_seqlens: integers `[B + 1]` from 0 rising to the tokens. On the host (list, array, CPU tensor) they are checked,
    the lists have just the room they need, and the last few plans are kept. With `tokens` given a tensor is never read
    by the host: no sync, capturable in a CUDA graph once a plan like it was built; the lists have room for any lengths
    of B documents up to max_seqlen (tokens unless given), which nobody checks. key_block is 64 (the Hopper kernels
    need that) or 128. backward=False leaves the key lists empty. ValueError names the argument.
    """
    chosen = (patterns,) if isinstance(patterns, Pattern) else tuple(patterns)
    if not chosen:
        raise ValueError("patterns: expected at least one, got none")
    block = HALF if key_block is None else key_block
    if block not in (HALF, TILE):
        raise ValueError(f"key_block: expected {HALF} or {TILE}, got {key_block}")
    if tokens is not None:
        return _bounded_plan(
            chosen, cu_seqlens, device, tokens, tokens if max_seqlen is None else max_seqlen, block, backward
        )
    if isinstance(cu_seqlens, Tensor) and cu_seqlens.device.type != "cpu":
        raise ValueError("tokens: expected their number with cu_seqlens on a device, got None")
    bounds = _host_bounds(cu_seqlens)
    return _exact_plan(chosen, bounds.tobytes(), _device(device), block, backward)


def _device(device: torch.device | str | None) -> torch.device:
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    # "cuda" means another GPU once another is current, and plans are kept by device.
    return torch.device("cuda", torch.cuda.current_device()) if str(chosen) == "cuda" else chosen


def _host_bounds(cu_seqlens: Any) -> NDArray[np.int32]:
    bounds = np.asarray(cu_seqlens)
    if bounds.ndim != 1 or not len(bounds) or not np.issubdtype(bounds.dtype, np.integer):
        raise ValueError(f"cu_seqlens: expected integers [B + 1], got {bounds.dtype} {list(bounds.shape)}")
    if bounds[0] != 0 or bool(np.any(np.diff(bounds) < 0)) or bounds[-1] >= UNBOUNDED:
        raise ValueError(f"cu_seqlens: expected to start at 0 and never fall, below 2**30, got {bounds[:8].tolist()}")
    return bounds.astype(np.int32)


@lru_cache(maxsize=8)
def _exact_plan(
    patterns: tuple[Pattern, ...], raw: bytes, device: torch.device, key_block: int, backward: bool
) -> DevicePlan:
    bounds = np.frombuffer(raw, np.int32)
    lengths = np.diff(bounds)
    longest = int(lengths.max(initial=0))
    capacity = exact_capacity(pattern_tables(patterns, _limit(longest)), lengths, key_block)
    offsets = torch.from_numpy(bounds.copy()).to(device)
    return _fill(patterns, offsets, int(bounds[-1]), longest, capacity, key_block, backward)


def _bounded_plan(
    patterns: tuple[Pattern, ...],
    cu_seqlens: Any,
    device: torch.device | str | None,
    tokens: int,
    max_seqlen: int,
    key_block: int,
    backward: bool,
) -> DevicePlan:
    if not isinstance(cu_seqlens, Tensor) or cu_seqlens.ndim != 1 or not len(cu_seqlens):
        raise ValueError("cu_seqlens: expected a tensor [B + 1] with tokens given")
    if not 0 <= tokens < UNBOUNDED or max_seqlen < 0:
        raise ValueError(f"tokens: expected 0 to 2**30, and max_seqlen at least 0, got {tokens} and {max_seqlen}")
    offsets = cu_seqlens.to(device or cu_seqlens.device, torch.int32).contiguous()
    longest = min(tokens, max_seqlen)
    capacity = bounded_capacity(patterns, _limit(longest), tokens, len(cu_seqlens) - 1, longest, key_block)
    return _fill(patterns, offsets, tokens, longest, capacity, key_block, backward)


def _limit(longest: int) -> int:
    # Powers of two: the tables of one length do for most others.
    return max(TILE, 1 << (longest - 1).bit_length())


@lru_cache(maxsize=32)
def _on_device(
    patterns: tuple[Pattern, ...], limit: int, key_block: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor | None]:
    tables = pattern_tables(patterns, limit)
    columns = np.stack([table.columns for table in tables]).astype(np.uint8)
    rows = torch.from_numpy(np.stack([table.rows(key_block) for table in tables])).to(device)
    return rows, rows[:, 0].contiguous(), torch.from_numpy(columns).to(device) if columns.any() else None


def _fill(
    patterns: tuple[Pattern, ...],
    offsets: Tensor,
    tokens: int,
    longest: int,
    room: Capacity,
    key_block: int,
    backward: bool,
) -> DevicePlan:
    limit = _limit(longest)
    tables, bands, columns = _on_device(patterns, limit, key_block, offsets.device)
    groups, tiles, back = len(patterns), room.tiles, int(backward)

    def ints(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32, device=offsets.device)

    plan = DevicePlan(
        tokens=tokens,
        documents=len(offsets) - 1,
        longest=longest,
        key_block=key_block,
        parts=room.parts * back,
        bands=tuple(table.band for table in pattern_tables(patterns, limit)),
        cu_seqlens=offsets,
        tiles=ints(tiles, 4),
        query_rows=ints(groups, tiles, 2),
        query_entries=ints(room.query_entries),
        key_items=ints(groups, room.key_items * back, 4),
        key_entries=ints(room.key_entries * back),
        key_parts=ints(groups, tiles * back, 2),
        band_table=bands,
        columns=columns,
    )
    if tiles:
        with torch.cuda.device_of(offsets):
            split = max(table.split(key_block) for table in pattern_tables(patterns, limit))
            _launch(plan, tables, longest, room.work + 1, limit // HALF, split)
    return plan


def _launch(plan: DevicePlan, tables: Tensor, longest: int, bins: int, cells: int, split: int) -> None:
    groups, tiles = plan.query_rows.shape[:2]
    documents, sides = plan.documents, 2 if plan.key_parts.numel() else 1
    before, rows, counts, begins, place = _scratch(
        plan.tiles, documents + 1, 4 * tiles, (2 * groups + 1) * tiles, 3 * groups * tiles, tiles
    )
    sizes = (documents, tiles, plan.tokens, longest)
    count_tiles[(1,)](plan.cu_seqlens, before, *sizes, ROWS=TILE, CHUNK=2048, num_warps=8)
    lay_tiles[(triton.cdiv(tiles, 128),)](
        plan.cu_seqlens, before, tables, rows, counts, *sizes, groups, cells, documents.bit_length(),
        KEY_BLOCK=plan.key_block, BACKWARD=sides == 2, CHUNK=128,
    )  # fmt: skip
    order_tiles[(bins + sides * groups,)](
        plan.band_table, counts, begins, place, tiles, groups, bins, KEY_BLOCK=plan.key_block, CHUNK=1024
    )
    # A program is one warp: most tiles have few entries.
    fill_lists[(sides * tiles, groups)](
        before, tables, rows, counts, begins, place,
        plan.tiles, plan.query_rows, plan.query_entries, plan.key_entries, plan.key_parts,
        documents, tiles, groups, cells, KEY_BLOCK=plan.key_block, CHUNK=64, num_warps=1,
    )  # fmt: skip
    if sides == 2:
        lengths = min(split, triton.cdiv(longest, plan.key_block)) + 1
        cut_items[(lengths, groups)](
            before, plan.band_table, counts, begins, place, plan.key_items, documents, tiles, groups,
            plan.key_items.shape[1], 0, KEY_BLOCK=plan.key_block, CHUNK=1024,
        )  # fmt: skip


def _scratch(like: Tensor, *sizes: int) -> tuple[Tensor, ...]:
    # One allocation; each piece starts aligned, or the kernels would compile anew for those that do not.
    rounded = [-(-size // 4) * 4 for size in sizes]
    return torch.split(torch.empty(sum(rounded), dtype=torch.int32, device=like.device), rounded)
