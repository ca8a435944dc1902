"""A plan run in plain torch operations: packed documents, no padding between them, no neighbour's value ever read."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longwatch.kernels.checks import check_heads
from longwatch.kernels.plan import Plan

__all__ = ["check_packed", "packed_gather_attention"]

# Scores held at once, in elements: bounds the peak whatever the number of tiles.
_SCORES = 1 << 24


def packed_gather_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: Plan, scale: float | None = None
) -> Tensor:
    """Attention output `[T, H, D]` of the plan's packed documents; a query that sees no key gives 0.

    query `[T, H, D]`, key and value `[T, Hkv, D]` with Hkv dividing H and the plan's head groups dividing Hkv, T the
    plan's tokens (ValueError otherwise). scale is 1/sqrt(D) unless given.
    """
    check_packed(query, key, value, plan)
    rows = query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    groups = len(plan.patterns)
    parts = zip(*(tensor.chunk(groups, dim=1) for tensor in (rows, key, value)), strict=True)
    outputs = []
    for group, (part, keys, values) in enumerate(parts):
        tiles = [_tiles(part, keys, values, plan, group, some) for some in _chunks(plan, group, part.shape[1])]
        outputs.append(torch.cat(tiles) if tiles else part)
    return torch.cat(outputs, dim=1)


def check_packed(query: Tensor, key: Tensor, value: Tensor, plan: Plan) -> None:
    """ValueError unless the tensors go together and with the plan."""
    check_heads(query, key, value, "T")
    if query.shape[0] != plan.tokens:
        raise ValueError(f"query: expected T {plan.tokens}, the plan's tokens, got {query.shape[0]}")
    if key.shape[1] % len(plan.patterns):
        raise ValueError(f"key: expected heads that {len(plan.patterns)} pattern groups divide, got {key.shape[1]}")


def _chunks(plan: Plan, group: int, heads: int) -> Iterator[slice]:
    """Runs of tiles whose scores, padded to the widest row, stay within the bound (or a single tile)."""
    widest = max(1, int(np.diff(plan.rows(group)).max(initial=0)))
    step = max(1, _SCORES // (widest * plan.block_size**2 * heads))
    for start in range(0, plan.tiles, step):
        yield slice(start, min(start + step, plan.tiles))


def _tiles(query: Tensor, key: Tensor, value: Tensor, plan: Plan, group: int, tiles: slice) -> Tensor:
    """Output `[queries of these tiles, H, D]`."""
    query_at, own = _queries(plan, tiles, query.device)
    key_at, mask, inside = _keys(plan, group, tiles, query_at)
    count, width, kv_heads = len(query_at), query.shape[2], key.shape[1]
    group_heads = query.shape[1] // kv_heads
    height = group_heads * plan.block_size
    rows = query[query_at].view(count, plan.block_size, kv_heads, -1, width).permute(0, 2, 3, 1, 4)
    # A neighbour's NaN times weight 0 is NaN: keys and values outside the document become 0 first.
    keys, values = (tensor[key_at].masked_fill(~inside[..., None, None], 0).transpose(1, 2) for tensor in (key, value))
    scores = rows.reshape(count, kv_heads, height, width) @ keys.transpose(-1, -2)
    scores = scores.view(count, kv_heads, group_heads, *mask.shape[1:])
    weights = torch.softmax(scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min), dim=-1)
    weights = (weights * mask[:, None, None]).view(count, kv_heads, height, mask.shape[2])
    output = (weights @ values).view(count, kv_heads, -1, plan.block_size, width).permute(0, 3, 1, 2, 4)
    return output.reshape(count * plan.block_size, *query.shape[1:])[own.flatten()]


def _queries(plan: Plan, tiles: slice, device: torch.device) -> tuple[Tensor, Tensor]:
    """Packed row of each tile row `[N, block]`, and whether it is the tile's; a short tile repeats its last query."""
    start, stop = (_index(bound[tiles, None], device) for bound in (plan.tile_start, plan.tile_stop))
    rows = start + torch.arange(plan.block_size, device=device)
    return torch.minimum(rows, stop - 1), rows < stop


def _index(rows: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(rows).to(device, torch.int64)


def _keys(plan: Plan, group: int, tiles: slice, query_at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Packed row of each key `[N, K]`, what each query sees `[N, block, K]`, and the keys of the document `[N, K]`."""
    device, pattern = query_at.device, plan.patterns[group]
    pointers = plan.rows(group)
    begin, end = pointers[:-1][tiles, None], pointers[1:][tiles, None]
    entries = begin + np.arange(int((end - begin).max()))
    blocks = plan.key_start[np.minimum(entries, plan.live_blocks - 1)] if plan.live_blocks else entries
    starts = _index(blocks, device)[..., None]
    first, last = (_index(bound[tiles, None], device) for bound in (plan.document_start, plan.document_stop))
    steps = torch.arange(plan.block_size, device=device)
    exists = torch.from_numpy(entries < end).to(device)[..., None]
    key_at = (starts + steps).flatten(1)
    inside = exists.expand(-1, -1, plan.block_size).flatten(1) & (key_at < last)
    seen = pattern.visible((query_at - first)[..., None], (key_at - first)[:, None])
    return torch.minimum(key_at, last - 1), seen & inside[:, None], inside
