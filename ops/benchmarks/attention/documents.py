"""Many documents in one flat sequence: their lengths, and FlexAttention's masks for them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from attention.peers import MaskMod

BLOCK = 128


def zipf_lengths(total: int, exponent: float, seed: int, shortest: int = 4, longest: int = 32768) -> tuple[int, ...]:
    """Lengths n drawn by n**-exponent that add up to `total`; the last one is cut to fit."""
    rng = np.random.default_rng(seed)
    sizes = np.arange(shortest, longest + 1)
    weights = sizes.astype(float) ** -exponent
    drawn = rng.choice(sizes, size=total // shortest, p=weights / weights.sum())
    count = int(np.searchsorted(np.cumsum(drawn), total))
    lengths = [int(length) for length in drawn[:count]]
    return (*lengths, total - sum(lengths))


def document_ids(lengths: tuple[int, ...], out: Tensor) -> Tensor:
    """Writes each row's document into `out` `[T]`."""
    sizes = torch.tensor(lengths, device=out.device)
    return out.copy_(torch.repeat_interleave(torch.arange(len(lengths), device=out.device), sizes))


def document_mask(document: Tensor, span: int) -> MaskMod:
    """Sliding over a flat sequence, within documents."""
    return lambda _b, _h, q, k: (k <= q) & (q - k < span) & (document[q] == document[k])


def block_mask_by_blocks(document: Tensor, span: int, mod: MaskMod) -> BlockMask:
    """The same BlockMask in O(blocks squared) by an expert's hand: documents rise, so two rows of a pair decide.

    FlexAttention's own build looks at every score. T must be a multiple of 128.
    """
    first, last = document[::BLOCK], document[BLOCK - 1 :: BLOCK]
    number = torch.arange(len(first), device=document.device)
    query, key = number[:, None], number[None, :]
    near, far = (query - key) * BLOCK - (BLOCK - 1), (query - key) * BLOCK + BLOCK - 1
    earlier = key < query
    live = (query == key) | (earlier & (near < span) & (last[key] == first[query]))
    full = earlier & (far < span) & (first[key] == last[query])
    partial = _ordered(live & ~full)
    return BlockMask.from_kv_blocks(
        *partial, *_ordered(full), BLOCK_SIZE=BLOCK, mask_mod=mod, seq_lengths=(len(document), len(document))
    )


def _ordered(blocks: Tensor) -> tuple[Any, Any]:
    """Counts `[1, 1, N]` and indices `[1, 1, N, N]`, as wide for full as for partial: torch 2.11 needs that."""
    flags = blocks.to(torch.int32)
    indices = torch.argsort(flags, dim=-1, descending=True, stable=True)
    return flags.sum(-1, dtype=torch.int32)[None, None], indices.to(torch.int32)[None, None]
