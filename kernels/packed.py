"""A plan run in plain torch operations: packed documents, no padding between them, no neighbour's value ever read."""

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longwatch.kernels.checks import check_heads, check_sink
from longwatch.kernels.plan import Plan
from longwatch.kernels.topk import BlockTable, Choice, choose_packed, straight_through

__all__ = ["check_packed", "packed_gather_attention"]

# Scores held at once, in elements: bounds the peak whatever the number of tiles.
_SCORES = 1 << 24


@overload
def packed_gather_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: Plan,
    scale: float | None = None,
    *,
    sink: Tensor | None = None,
    return_lse: Literal[False] = False,
) -> Tensor: ...


@overload
def packed_gather_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: Plan,
    scale: float | None = None,
    *,
    sink: Tensor | None = None,
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def packed_gather_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: Plan,
    scale: float | None = None,
    *,
    sink: Tensor | None = None,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` of the plan's packed documents, and on request the log-sum-exp `[T, H]`.

    query `[T, H, D]`, key and value `[T, Hkv, D]` with Hkv dividing H and the plan's head groups dividing Hkv, T the
    plan's tokens (ValueError otherwise). scale is 1/sqrt(D) unless given; sink `[H]` is one more logit of every query,
    without a value. A query that sees no key gives 0 and -inf, or the sink.
    """
    check_packed(query, key, value, plan.tokens, len(plan.patterns))
    check_sink(sink, query)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    sizes = _shares(plan, key.shape[1])
    per_key = query.shape[1] // key.shape[1]
    kv_sizes = [size for _, size in sizes]
    keys, values = (torch.split(tensor, kv_sizes, dim=1) for tensor in (key, value))
    rows = torch.split(query, [size * per_key for size in kv_sizes], dim=1)
    sinks = [None] * len(sizes) if sink is None else torch.split(sink, [size * per_key for size in kv_sizes])
    outputs = [
        _share(some, its_keys, its_values, logits, plan, group, scale, return_lse)
        for (group, _), some, its_keys, its_values, logits in zip(sizes, rows, keys, values, sinks, strict=True)
    ]
    out = torch.cat([output for output, _ in outputs], dim=1)
    return (out, torch.cat([lse for _, lse in outputs if lse is not None], dim=1)) if return_lse else out


def check_packed(query: Tensor, key: Tensor, value: Tensor, tokens: int, groups: int) -> None:
    """ValueError unless the tensors go together and with a plan of so many tokens and head groups."""
    check_heads(query, key, value, "T")
    if query.shape[0] != tokens:
        raise ValueError(f"query: expected T {tokens}, the plan's tokens, got {query.shape[0]}")
    if key.shape[1] % groups:
        raise ValueError(f"key: expected heads that {groups} pattern groups divide, got {key.shape[1]}")


def _shares(plan: Plan, kv_heads: int) -> list[tuple[int, int]]:
    """Which key heads are gathered at once: the group and how many; each alone where each makes its own choice."""
    size = kv_heads // len(plan.patterns)
    shares = []
    for group, pattern in enumerate(plan.patterns):
        shares += [(group, size)] if pattern.data_chosen is None else [(group, 1)] * size
    return shares


def _share(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sink: Tensor | None,
    plan: Plan,
    group: int,
    scale: float,
    return_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    """Output and log-sum-exp of some heads of a group."""
    choice, part = None, plan.patterns[group].data_chosen
    if part is not None:
        choice = choose_packed(query, key, _block_table(plan, query.device), part, scale)
    rows = query * scale
    tiles = [
        _tiles(rows, key, value, sink, plan, _keys(plan, group, some, query.device, choice), some, return_lse)
        for some in _chunks(plan, group, query.shape[1])
    ]
    if not tiles:
        return rows, query.new_zeros(query.shape[:2])
    out = torch.cat([output for output, _ in tiles])
    return out, torch.cat([lse for _, lse in tiles if lse is not None]) if return_lse else None


def _chunks(plan: Plan, group: int, heads: int) -> Iterator[slice]:
    """Runs of tiles whose scores, padded to the widest row, stay within the bound (or a single tile)."""
    part = plan.patterns[group].data_chosen
    chosen = 0 if part is None else part.count
    widest = max(1, int(np.diff(plan.rows(group)).max(initial=0)) + chosen)
    step = max(1, _SCORES // (widest * plan.block_size**2 * heads))
    for start in range(0, plan.tiles, step):
        yield slice(start, min(start + step, plan.tiles))


class _Keys(NamedTuple):
    """What a run of tiles reads."""

    at: Tensor  # [N, K] packed rows
    mask: Tensor  # bool [N, block, K], what each query sees
    inside: Tensor  # bool [N, K], keys of the document
    gain: Tensor | None = None  # [N, K], what the logits gain


def _tiles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sink: Tensor | None,
    plan: Plan,
    read: _Keys,
    tiles: slice,
    return_lse: bool,
) -> tuple[Tensor, Tensor | None]:
    """Output `[queries of these tiles, H, D]` and log-sum-exp; query is scaled."""
    query_at, own = _queries(plan, tiles, query.device)
    count, width, kv_heads = len(query_at), query.shape[2], key.shape[1]
    group_heads = query.shape[1] // kv_heads
    height = group_heads * plan.block_size
    rows = query[query_at].view(count, plan.block_size, kv_heads, -1, width).permute(0, 2, 3, 1, 4)
    # A neighbour's NaN times weight 0 is NaN: keys and values outside the document become 0 first.
    keys, values = (
        tensor[read.at].masked_fill(~read.inside[..., None, None], 0).transpose(1, 2) for tensor in (key, value)
    )
    scores = rows.reshape(count, kv_heads, height, width) @ keys.transpose(-1, -2)
    if read.gain is not None:
        scores = scores + read.gain.to(scores.dtype)[:, None, None]
    scores = scores.view(count, kv_heads, group_heads, *read.mask.shape[1:])
    mask = read.mask[:, None, None]
    weights = (_softmax(scores, mask, sink) * mask).reshape(count, kv_heads, height, -1)
    output = (weights @ values).view(count, kv_heads, -1, plan.block_size, width).permute(0, 3, 1, 2, 4)
    output = output.reshape(-1, *query.shape[1:])[own.flatten()]
    if not return_lse:
        return output, None
    lse = _lse(scores, mask, sink).permute(0, 3, 1, 2).reshape(-1, query.shape[1])
    return output, lse[own.flatten()]


def _softmax(scores: Tensor, mask: Tensor, sink: Tensor | None) -> Tensor:
    """Weights of scores `[N, Hkv, G, block, K]`; a row that sees nothing is still finite."""
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    if sink is None:
        return torch.softmax(scores, dim=-1)
    logit = sink.to(scores.dtype).view(*scores.shape[1:3], 1, 1).expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat([scores, logit], dim=-1), dim=-1)[..., :-1]


def _lse(scores: Tensor, mask: Tensor, sink: Tensor | None) -> Tensor:
    lse = torch.logsumexp(scores.masked_fill(~mask, -math.inf), dim=-1)
    return lse if sink is None else torch.logaddexp(lse, sink.to(lse.dtype).view(*scores.shape[1:3], 1))


def _queries(plan: Plan, tiles: slice, device: torch.device) -> tuple[Tensor, Tensor]:
    """Packed row of each tile row `[N, block]`, and whether it is the tile's; a short tile repeats its last query."""
    start, stop = (_index(bound[tiles, None], device) for bound in (plan.tile_start, plan.tile_stop))
    rows = start + torch.arange(plan.block_size, device=device)
    return torch.minimum(rows, stop - 1), rows < stop


def _index(rows: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(rows).to(device, torch.int64)


def _block_table(plan: Plan, device: torch.device) -> BlockTable:
    """The plan's tiles, which are the blocks that data chooses from."""
    start, stop, first = (_index(bound, device) for bound in (plan.tile_start, plan.tile_stop, plan.document_start))
    return BlockTable(start, stop, (start - first) // plan.block_size)


def _keys(plan: Plan, group: int, tiles: slice, device: torch.device, choice: Choice | None) -> _Keys:
    query_at, _ = _queries(plan, tiles, device)
    pattern, pointers = plan.patterns[group], plan.rows(group)
    begin, end = pointers[:-1][tiles, None], pointers[1:][tiles, None]
    entries = begin + np.arange(int((end - begin).max()))
    blocks = plan.key_start[np.minimum(entries, plan.live_blocks - 1)] if plan.live_blocks else entries
    starts = _index(blocks, device)[..., None]
    first, last = (_index(bound[tiles, None], device) for bound in (plan.document_start, plan.document_stop))
    steps = torch.arange(plan.block_size, device=device)
    exists = torch.from_numpy(entries < end).to(device)[..., None]
    key_at = (starts + steps).flatten(1)
    inside = exists.expand(-1, -1, plan.block_size).flatten(1) & (key_at < last)
    seen = pattern.certain((query_at - first)[..., None], (key_at - first)[:, None])
    certain = _Keys(torch.minimum(key_at, last - 1), seen & inside[:, None], inside)
    if choice is None:
        return certain
    return _with_choice(certain, Choice(choice.blocks[0, tiles], choice.gate[0, tiles]), first, last, plan.block_size)


def _with_choice(certain: _Keys, choice: Choice, first: Tensor, last: Tensor, block_size: int) -> _Keys:
    """The certain keys of other blocks, then those of the chosen blocks; choice `[N, count]`, first, last `[N, 1]`."""
    there = choice.blocks >= 0
    elsewhere = ((certain.at - first) // block_size)[..., None] != choice.blocks[:, None]
    steps = torch.arange(block_size, device=first.device)
    at = first[..., None] + torch.where(there, choice.blocks, 0)[..., None] * block_size + steps
    inside = there.repeat_interleave(block_size, dim=1)
    gain = straight_through(choice, choice.gate.dtype).repeat_interleave(block_size, dim=1)
    seen = inside[:, None].expand(-1, block_size, -1)
    return _Keys(
        torch.cat([certain.at, torch.minimum(at.flatten(1), last - 1)], dim=1),
        torch.cat([certain.mask & elsewhere.all(dim=2)[:, None], seen], dim=2),
        torch.cat([certain.inside, inside], dim=1),
        torch.cat([torch.zeros_like(certain.at, dtype=gain.dtype), gain], dim=1),
    )
