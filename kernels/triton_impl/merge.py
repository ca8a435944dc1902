"""Entries of several lists merged on the device: by row and block, each block once, with the most visible kind."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from longwatch.kernels.triton_impl.device_plan import DEAD, FULL

__all__ = ["CAUSAL", "EVERY_KEY", "UP_TO_QUERY", "Merged", "merge", "rank"]

CAUSAL: Final = 3  # a kind of its own: the half sees every key of the document up to the query
# Ranks of the kinds DEAD, EDGE, CAUSAL, FULL: of two entries for one block the higher shows all that the other does.
EVERY_KEY: Final = 3
UP_TO_QUERY: Final = 2


class Merged(NamedTuple):
    """Entries by row (a tile of a group) and rising block, each once."""

    entries: Tensor  # int32 [C], 0 past the last
    rows: Tensor  # int64 [C], 0 past the last
    spans: Tensor  # int32 [rows, 2] begin, end
    place: Tensor  # int64 [C], where each candidate went; C for those that are none


def merge(rows: Tensor, blocks: Tensor, ranks: Tensor, row_count: int, span: int) -> Merged:
    """Candidates `[C]` (row -1 for none, block below span, ranks of both halves `[C, 2]`) sorted, each block once."""
    capacity = len(rows)
    none = row_count * span
    order = torch.where(rows >= 0, rows * span + blocks, none)
    order, source = torch.sort(order, stable=True)
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = order[1:] != order[:-1]
    fresh &= order < none
    place = torch.where(order < none, fresh.cumsum(0) - 1, capacity)
    best = torch.zeros(capacity + 1, 2, dtype=torch.int64, device=rows.device)
    best.scatter_reduce_(0, place[:, None].expand(-1, 2), ranks[source].long(), "amax")
    merged = torch.zeros(capacity + 1, dtype=torch.int64, device=rows.device).scatter_(0, place, order)[:-1]
    kinds = _kind(best[:-1])
    live = torch.arange(capacity, device=rows.device) < fresh.sum()
    entries = torch.where(live, merged % span << 4 | kinds[:, 1] << 2 | kinds[:, 0], 0)
    counts = torch.zeros(row_count + 1, dtype=torch.int64, device=rows.device)
    counts.scatter_add_(0, torch.where(fresh, order // span, row_count), fresh.long())
    ends = counts[:-1].cumsum(0)
    spans = torch.stack([ends - counts[:-1], ends], dim=1).int()
    back = torch.empty_like(place).scatter_(0, source, place)
    return Merged(entries.int(), torch.where(live, merged // span, 0), spans, back)


def rank(kinds: Tensor) -> Tensor:
    """Ranks of kinds, same shape."""
    return torch.where(kinds == FULL, EVERY_KEY, (kinds - 1).clamp(min=0))


def _kind(ranks: Tensor) -> Tensor:
    return torch.where(ranks == EVERY_KEY, FULL, torch.where(ranks > 0, ranks + 1, DEAD))
