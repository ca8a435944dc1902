"""Which blocks data chooses, in plain torch operations on any device: means, gates, the choice and its gradient.

Means and gates are made in float64 and compared in float32, so that packing and batching do not move a choice.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels.pattern import TopK

__all__ = ["BlockTable", "Choice", "block_table", "choose", "choose_packed", "straight_through"]

# Gates held at once, in elements: bounds the peak whatever the number of blocks.
_GATES = 1 << 24
_UINT32 = (1 << 32) - 1
_BELOW = -0x7F800001 << 32  # just below every gate of -inf as `_ranked` has it


class Choice(NamedTuple):
    """What each query block reads besides its own; both `[..., blocks, count]`."""

    blocks: Tensor  # int64, blocks from the document's start in rising order, then -1 for none
    gate: Tensor  # float64, differentiable; 0 for none


class BlockTable(NamedTuple):
    """The blocks of packed documents in order, int64 `[N]`; rows past the last block have start == stop == 0."""

    start: Tensor  # packed row of the block's first token
    stop: Tensor  # one past its last
    local: Tensor  # its number in the document


def straight_through(choice: Choice, dtype: torch.dtype) -> Tensor:
    """What the logits of each chosen block gain, `[..., blocks, count]`: 0 in value, the gate in gradient."""
    return (choice.gate - choice.gate.detach()).to(dtype)


def choose(query: Tensor, key: Tensor, part: TopK, scale: float) -> Choice:
    """Choice `[B, blocks, count]` for one key head; query `[B, T, G, D]`, key `[B, T, D]`, T a multiple of the block.

    Rows are documents padded on the right; what a block of padding chooses means nothing.
    """
    blocks, width = key.shape[1] // part.block, key.shape[2]
    queries = query.reshape(query.shape[0], blocks, part.block, query.shape[2], width).mean(
        dim=(2, 3), dtype=torch.float64
    )
    keys = key.reshape(key.shape[0], blocks, part.block, width).mean(dim=2, dtype=torch.float64)
    before = torch.cat([torch.zeros_like(queries[:, :1]), queries[:, :-1]], dim=1)
    number = torch.arange(blocks, device=key.device)
    with torch.no_grad():
        gate = before @ keys.transpose(1, 2) * scale
        picked = _highest(gate.float(), number < number[:, None], part.count)
    there = picked >= 0
    # Where there is none, the block itself stands in: its numbers are the document's own, and the mask drops them.
    at = torch.where(there, picked, number[:, None])
    gates = (_rows(keys, at) * before[:, :, None]).sum(-1) * scale
    return Choice(picked, gates.masked_fill(~there, 0))


def block_table(cu_seqlens: Tensor, block: int, capacity: int) -> BlockTable:
    """The blocks of the documents between cu_seqlens `[B + 1]`, on its device without a sync.

    capacity is N, at least sum(ceil(length / block)); tokens // block + documents always does.
    """
    bounds = cu_seqlens.long()
    counts = (bounds[1:] - bounds[:-1] + block - 1) // block
    ends = counts.cumsum(0)
    number = torch.arange(capacity, device=bounds.device)
    document = torch.searchsorted(ends, number, right=True)
    live = document < len(counts)
    document = document.clamp(max=max(len(counts) - 1, 0))
    local = torch.where(live, number - (ends - counts)[document], 0)
    start = torch.where(live, bounds[document] + local * block, 0)
    return BlockTable(start, torch.where(live, torch.minimum(start + block, bounds[document + 1]), 0), local)


def choose_packed(query: Tensor, key: Tensor, table: BlockTable, part: TopK, scale: float) -> Choice:
    """Choice `[Hkv, N, count]` of packed documents; query `[T, H, D]`, key `[T, Hkv, D]`, N the table's blocks."""
    number = torch.arange(len(table.local), device=key.device)
    shared = query.reshape(*key.shape[:2], query.shape[1] // key.shape[1], key.shape[2])
    queries = _block_means(shared, table, part.block).mean(2).transpose(0, 1)
    keys = _block_means(key, table, part.block).transpose(0, 1)
    first = number - table.local
    before = queries[:, torch.maximum(number - 1, first)]
    with torch.no_grad():
        picked = _pick_packed(before, keys, number, first, part.count, scale)
    there = picked >= 0
    at = torch.where(there, picked, number[:, None])
    gates = (_rows(keys, at) * before[:, :, None]).sum(-1) * scale
    return Choice(torch.where(there, picked - first[:, None], -1), gates.masked_fill(~there, 0))


def _rows(means: Tensor, at: Tensor) -> Tensor:
    """`[M, N, count, D]` of means `[M, N, D]` at `[M, N, count]`."""
    flat = at.flatten(1)[..., None].expand(-1, -1, means.shape[2])
    return means.gather(1, flat).view(*at.shape, means.shape[2])


def _block_means(rows: Tensor, table: BlockTable, block: int) -> Tensor:
    """Mean of each whole block of rows `[T, ..., D]`, float64 `[N, ..., D]`; 0 for a document's partial last block."""
    if not rows.shape[0]:
        return rows.new_zeros(len(table.start), *rows.shape[1:], dtype=torch.float64)
    at = table.start[:, None] + torch.arange(block, device=rows.device)
    partial = (table.stop - table.start < block).view(-1, *[1] * (rows.ndim))
    found = rows[at.clamp(max=rows.shape[0] - 1)].masked_fill(partial, 0)
    return found.mean(dim=1, dtype=torch.float64)


def _pick_packed(before: Tensor, keys: Tensor, number: Tensor, first: Tensor, count: int, scale: float) -> Tensor:
    """Chosen rows of keys `[Hkv, N, count]`, -1 for none, for means `[Hkv, N, D]`; a bounded number of rows at once."""
    total = len(number)
    step = max(1, _GATES // max(1, total * before.shape[0]))
    picked = []
    for start in range(0, max(total, 1), step):
        rows = slice(start, start + step)
        gate = before[:, rows] @ keys.transpose(1, 2) * scale
        allowed = (number < number[rows, None]) & (number >= first[rows, None])
        picked.append(_highest(gate.float(), allowed, count))
    return torch.cat(picked, dim=1)


def _highest(gate: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Columns of the `count` highest allowed gates, rising, then -1; the lower of equals. int64 `[..., rows, count]`.

    gate float32 `[..., rows, columns]`, allowed bool `[rows, columns]`.
    """
    columns = gate.shape[-1]
    # Spare columns that nobody may choose: there are always `count` to take.
    gate = F.pad(gate.masked_fill(~allowed, -torch.inf), (0, count), value=-torch.inf)
    allowed = torch.cat([allowed, allowed.new_zeros(allowed.shape[0], count)], dim=1)
    if torch.onnx.is_in_onnx_export():
        # ONNX's TopK gives the lower column of equals by itself, and has no bit casts.
        picked = torch.topk(gate, count, dim=-1).indices
    else:
        # A gate of -inf comes before all that may not be chosen, or the document's place in the pack would matter.
        picked = torch.topk(_ranked(gate).masked_fill(~allowed, _BELOW), count, dim=-1).indices
    there = allowed.expand_as(gate).gather(-1, picked)
    rising = torch.where(there, picked, columns).sort(dim=-1).values
    return torch.where(rising < columns, rising, -1)


def _ranked(gate: Tensor) -> Tensor:
    """int64 that orders as gate does, and equal gates by falling column: no two are equal, so topk is one answer."""
    bits = (gate + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (ordered << 32) | (_UINT32 - torch.arange(gate.shape[-1], device=gate.device))
