"""Attention of a stream's next events to what it remembers, in plain torch operations: exportable to ONNX.

A step of C events costs O(C * (span + C)) and no more, however long the stream is; columns add their number.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from longwatch.kernels.pattern import Global, Pattern, Strided
from longwatch.kernels.ring_layout import CachePart, cache_parts

__all__ = ["Ring", "StreamView", "ring_attention", "ring_write", "stream_view"]

# A position after every query.
_NEVER = 2**62


class Ring(NamedTuple):
    """Keys and values of one cache part, `[slots, Hkv, rows, D]` each."""

    key: Tensor
    value: Tensor


class StreamView(NamedTuple):
    """Where one pattern's next events are written, and what they see; one for each part, shared by its layers."""

    rows: list[Tensor]  # int64 [S, C], the row that each event's key takes
    bias: Tensor  # [S, 1, 1, C, rows of all parts], 0 where seen, else the lowest finite number
    seen: Tensor | None  # bool, as bias; None where every event sees itself


def stream_view(pattern: Pattern, position: Tensor, sizes: list[int], dtype: torch.dtype) -> StreamView:
    """View of events at position int64 `[S, C]` (consecutive, counted from 0) on parts of these sizes in rows."""
    parts = cache_parts(pattern)
    rows = [_write_rows(part, position, size) for part, size in zip(parts, sizes, strict=True)]
    earlier: list[Global | Strided] = []
    masks = []
    for part, size in zip(parts, sizes, strict=True):
        masks.append(_mask(part, position, size, earlier))
        if part.columns is not None:
            earlier.append(part.columns)
    seen = torch.cat(masks, dim=-1)[:, None, None]
    bias = torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)
    return StreamView(rows, bias, None if pattern.band != 0 else seen)


def ring_write(ring: Ring, slots: Tensor, rows: Tensor, key: Tensor, value: Tensor) -> Ring:
    """The cache with key and value `[S, C, Hkv, D]` in these rows `[S, C]` of the streams' slots `[S]`."""
    head = torch.arange(key.shape[2], device=key.device)
    at = (slots[:, None, None], head, rows[:, :, None])
    return Ring(ring.key.index_put(at, key), ring.value.index_put(at, value))


def ring_attention(query: Tensor, rings: list[Ring], slots: Tensor, view: StreamView) -> Tensor:
    """Output `[S, C, H, D]` of query `[S, C, H, D]` over rings that hold the new events' keys too."""
    streams, chunk, heads, width = query.shape
    kv_heads = rings[0].key.shape[1]
    query = (query * (1 / math.sqrt(width))).view(streams, chunk, kv_heads, -1, width).permute(0, 2, 3, 1, 4)
    query = query.reshape(streams, kv_heads, -1, width)
    scores = [query @ ring.key.index_select(0, slots).transpose(-1, -2) for ring in rings]
    score = torch.cat(scores, dim=-1) if len(scores) > 1 else scores[0]
    weight = torch.softmax(score.view(streams, kv_heads, heads // kv_heads, chunk, -1) + view.bias, dim=-1)
    if view.seen is not None:
        weight = weight * view.seen
    output = _mixed(weight.reshape(streams, kv_heads, heads // kv_heads * chunk, -1), rings, slots)
    output = output.view(streams, heads, chunk, width)
    return output.transpose(1, 2)


def _mixed(weight: Tensor, rings: list[Ring], slots: Tensor) -> Tensor:
    sizes = [ring.value.shape[2] for ring in rings]
    parts = torch.split(weight, sizes, dim=-1) if len(sizes) > 1 else [weight]
    output = parts[0] @ rings[0].value.index_select(0, slots)
    for part, ring in zip(parts[1:], rings[1:], strict=True):
        output = output + part @ ring.value.index_select(0, slots)
    return output


def _write_rows(part: CachePart, position: Tensor, size: int) -> Tensor:
    if part.columns is None:
        return position % _as_tensor(size, position)
    if isinstance(part.columns, Global):
        return position.clamp(max=size - 1)
    stride, width = part.columns.stride, part.columns.width
    row = position // stride * width + position % stride - (stride - width)
    return torch.where(part.columns.column(position), row, size - 1)


def _mask(part: CachePart, position: Tensor, size: int, earlier: list[Global | Strided]) -> Tensor:
    """Bool `[S, C, size]`: what each event sees of the part once all the chunk's keys are written."""
    row, query = torch.arange(size, device=position.device), position[..., None]
    if part.columns is None:
        newest = position[:, -1:, None]
        key = newest - (newest - row) % _as_tensor(size, position)
        return (key >= 0) & (key <= query) & (query - key < part.span)
    key = _column_positions(part.columns, row, size)
    for other in earlier:
        key = key.masked_fill(other.column(key), _NEVER)
    return (key <= query) & (query - key >= part.span)


def _as_tensor(size: int, like: Tensor) -> Tensor:
    """The exporter has no remainder by a dynamic size that is a number."""
    return torch.full((1,), size, dtype=like.dtype, device=like.device)


def _column_positions(columns: Global | Strided, row: Tensor, size: int) -> Tensor:
    if isinstance(columns, Strided):
        key = row // columns.width * columns.stride + columns.stride - columns.width + row % columns.width
    else:
        key = row
    return torch.where(row < size - 1, key, _NEVER)
