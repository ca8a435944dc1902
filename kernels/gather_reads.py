"""Which keys each block of queries gathers, and which of them each query sees: band, columns, chosen blocks."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels.pattern import Global, Pattern, Strided
from longwatch.kernels.topk import Choice, straight_through

__all__ = ["Read", "chosen_reads", "fixed_reads"]

# A position after every query.
_NEVER = 2**62


class Read(NamedTuple):
    """Keys that the query blocks gather together."""

    key: Tensor  # [B, blocks or 1, N, D]
    value: Tensor  # as key
    mask: Tensor  # bool [blocks, block, N], or [B, blocks, block, N] where data chose
    gain: Tensor | None = None  # [B, blocks, N], what the logits gain


def fixed_reads(key: Tensor, value: Tensor, pattern: Pattern, block_size: int) -> list[Read]:
    """The band, then the columns of key and value `[B, T, D]`; every visible key in one of them alone."""
    blocks, band = key.shape[1] // block_size, pattern.band or 0
    reads = []
    if band:
        back = _blocks_back(band, block_size, blocks)
        mask = _band_mask(blocks, band, back, block_size, key.device)
        reads.append(Read(_band(key, back, block_size), _band(value, back, block_size), mask))
    columns = _column_positions(pattern, key)
    if columns is not None:
        # Columns past the end only repeat the last key; causality hides them.
        index = columns.clamp(max=key.shape[1] - 1)
        mask = _column_mask(blocks, columns, band, block_size)
        reads.append(Read(key.index_select(1, index)[:, None], value.index_select(1, index)[:, None], mask))
    return reads


def chosen_reads(key: Tensor, value: Tensor, fixed: Pattern | None, choice: Choice, block_size: int) -> list[Read]:
    """The chosen blocks, what `fixed` shows besides, and the rest of each block's own keys.

    choice `[B, blocks, count]` is in blocks of block_size.
    """
    batch, blocks = choice.blocks.shape[:2]
    there = choice.blocks >= 0
    mask = there.repeat_interleave(block_size, dim=2)[:, :, None].expand(-1, -1, block_size, -1)
    # Without a gradient the gain is 0: an exported graph and a scorer are spared it.
    learns = choice.gate.requires_grad
    gain = straight_through(choice, key.dtype).repeat_interleave(block_size, dim=2) if learns else None
    at = torch.where(there, choice.blocks, 0) + torch.arange(batch, device=key.device)[:, None, None] * blocks
    reads = [Read(_blocks_at(key, at, block_size), _blocks_at(value, at, block_size), mask, gain)]
    if fixed is not None:
        others = fixed_reads(key, value, fixed, block_size)
        for read, number in zip(others, _block_numbers(key, fixed, block_size), strict=True):
            elsewhere = (choice.blocks[..., None] != number[:, None]).all(dim=2)[:, :, None]
            reads.append(read._replace(mask=read.mask & elsewhere))
    own = [tensor.reshape(batch, blocks, block_size, -1) for tensor in (key, value)]
    own_mask = _own_mask(blocks, fixed, block_size, key.device).expand(batch, -1, -1, -1)
    return [*reads, Read(own[0], own[1], own_mask)]


def _blocks_at(tensor: Tensor, at: Tensor, block_size: int) -> Tensor:
    """`[B, blocks, count * block, D]` of the blocks numbered over the whole batch by at `[B, blocks, count]`."""
    flat = tensor.reshape(-1, block_size, tensor.shape[2]).index_select(0, at.reshape(-1))
    return flat.view(*at.shape[:2], -1, tensor.shape[2])


def _block_numbers(key: Tensor, fixed: Pattern, block_size: int) -> list[Tensor]:
    """For each fixed read, the block `[blocks or 1, N]` that each of its keys lies in."""
    blocks, numbers = key.shape[1] // block_size, []
    if fixed.band:
        back = _blocks_back(fixed.band, block_size, blocks)
        shift = torch.arange(back + 1, device=key.device) - back
        number = torch.arange(blocks, device=key.device)[:, None] + shift
        numbers.append(number.repeat_interleave(block_size, dim=1))
    columns = _column_positions(fixed, key)
    if columns is not None:
        numbers.append((columns // block_size)[None])
    return numbers


def _own_mask(blocks: int, fixed: Pattern | None, block_size: int, device: torch.device) -> Tensor:
    step = torch.arange(block_size, device=device)
    start = torch.arange(blocks, device=device)[:, None, None] * block_size
    query_pos, key_pos = start + step[:, None], start + step
    causal = key_pos <= query_pos
    return causal if fixed is None else causal & ~fixed.visible(query_pos, key_pos)


def _blocks_back(band: int, block_size: int, blocks: int) -> int:
    back = -(-(band - 1) // block_size)
    # An exported or compiled graph must not depend on this call's length.
    return back if torch.compiler.is_compiling() else min(back, max(blocks - 1, 0))


def _band(tensor: Tensor, back: int, block_size: int) -> Tensor:
    batch, tokens, width = tensor.shape
    blocks = tokens // block_size
    padded = F.pad(tensor.reshape(batch, blocks, block_size, width), (0, 0, 0, 0, back, 0))
    return torch.cat([padded[:, shift : shift + blocks] for shift in range(back + 1)], dim=2)


def _band_mask(blocks: int, band: int, back: int, block_size: int, device: torch.device) -> Tensor:
    query_pos = torch.arange(block_size, device=device)[:, None]
    key_pos = torch.arange((back + 1) * block_size, device=device) - back * block_size
    distance = query_pos - key_pos
    exists = torch.arange(blocks, device=device)[:, None, None] * block_size + key_pos >= 0
    return ((distance >= 0) & (distance < band)) & exists


def _column_positions(pattern: Pattern, key: Tensor) -> Tensor | None:
    positions: list[Tensor] = []
    earlier: list[Pattern] = []
    for part in pattern.parts:
        if not isinstance(part, Global | Strided):
            continue
        found = _positions(part, key)
        for other in earlier:
            # A key that an earlier part shows moves beyond every query, so it is counted once.
            found = found.masked_fill(other.column(found), _NEVER)
        positions.append(found)
        earlier.append(part)
    return torch.cat(positions) if positions else None


def _positions(part: Global | Strided, key: Tensor) -> Tensor:
    if isinstance(part, Global):
        return torch.arange(part.first, device=key.device)
    runs = torch.arange(key.shape[1] // part.stride + 1, device=key.device)[:, None] * part.stride
    return (runs + torch.arange(part.stride - part.width, part.stride, device=key.device)).reshape(-1)


def _column_mask(blocks: int, columns: Tensor, band: int, block_size: int) -> Tensor:
    starts = torch.arange(blocks, device=columns.device)[:, None, None] * block_size
    query_pos = starts + torch.arange(block_size, device=columns.device)[:, None]
    # Keys inside the band are read there.
    return (columns <= query_pos) & (query_pos - columns >= band)
