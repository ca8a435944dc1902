"""What normally comes after what: for each template the few that followed it most often in the fit split."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from longwatch.model.tokens import WindowTokens

FOLLOWERS = 3
LEAST_TIMES = 20
"""A template that was followed less often than that is left out: its shares would say little."""


@dataclass(frozen=True)
class Successors:
    """templates: uint64 [V], sorted. times: int64 [V], how often each was followed by anything in the same window.

    followers: uint64 [V, 3] and counts: int64 [V, 3], the most frequent first, 0 where there are fewer.
    """

    templates: NDArray[np.uint64]
    times: NDArray[np.int64]
    followers: NDArray[np.uint64]
    counts: NDArray[np.int64]

    @classmethod
    def none(cls) -> Self:
        """Of a bundle that has none."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64), *_tables(0))

    @classmethod
    def fit(cls, tokens: WindowTokens) -> Self:
        """From whole normal windows; the order of the windows is no matter, equal counts go by template id."""
        inside = np.ones(max(len(tokens.template_id) - 1, 0), np.bool_)
        borders = tokens.cu_seqlens[1:-1].astype(np.int64) - 1
        inside[borders[(borders >= 0) & (borders < len(inside))]] = False
        pairs = np.stack([tokens.template_id[:-1][inside], tokens.template_id[1:][inside]], axis=1)
        distinct, counts = np.unique(pairs, axis=0, return_counts=True)
        templates, first = np.unique(distinct[:, 0], return_index=True)
        times = np.add.reduceat(counts, first) if len(first) else np.zeros(0, np.int64)
        kept = np.flatnonzero(times >= LEAST_TIMES)
        stops = np.append(first[1:], len(counts))
        found = cls(templates[kept], times[kept].astype(np.int64), *_tables(len(kept)))
        for row, at in enumerate(kept):
            order = first[at] + np.argsort(-counts[first[at] : stops[at]], kind="stable")[:FOLLOWERS]
            found.followers[row, : len(order)], found.counts[row, : len(order)] = distinct[order, 1], counts[order]
        return found

    def after(self, template: int) -> tuple[int, list[tuple[int, int]]]:
        """How often that template was followed, and (follower, count) of the most frequent; (0, []) if rarely."""
        at = int(np.searchsorted(self.templates, np.uint64(template)))
        if at == len(self.templates) or int(self.templates[at]) != template:
            return 0, []
        pairs = zip(self.followers[at].tolist(), self.counts[at].tolist(), strict=True)
        return int(self.times[at]), [(follower, count) for follower, count in pairs if count]

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Every field by name, as a bundle keeps it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The successors that `to_arrays` gave; KeyError names an array that is not there."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})  # type: ignore[arg-type]


def _tables(rows: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    return np.zeros((rows, FOLLOWERS), np.uint64), np.zeros((rows, FOLLOWERS), np.int64)
