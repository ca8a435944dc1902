"""Several detectors' scores as one: each becomes a level by its own normal scores, and levels are put together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from longwatch.model.tail import DECADE, levels_beyond, tail_scale


@dataclass(frozen=True)
class Conformal:
    """A score as -log10 of its conformal p-value; beyond all normals the level goes on as a generalised Pareto tail.

    normals: float64 [n], sorted. scale: excess over the highest normal that makes a level one nat higher, at first.
    """

    normals: NDArray[np.float64]
    scale: float

    @classmethod
    def fit(cls, normals: NDArray[np.float64]) -> Self:
        """The tail's scale is what normals show beyond the highest twentieth's border."""
        ordered = np.sort(normals)
        return cls(ordered, tail_scale(ordered))

    def level(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """At most a share 10**-level of exchangeable normals is expected as high, up to level log10(n + 1)."""
        count = len(self.normals)
        as_high = count - np.searchsorted(self.normals, scores, side="left")
        tail = levels_beyond(scores - self.normals[-1], self.scale)
        return np.asarray(-np.log10((1 + as_high) / (count + 1)) + tail, dtype=np.float64)


@dataclass(frozen=True)
class Combination:
    """Lines of evidence: parts of one line hang together, so their p-values' harmonic mean is taken; lines add up.

    One line may be odd by chance; a second that agrees, though it looks at something else, counts in full.
    """

    lines: tuple[tuple[Conformal, ...], ...]

    @classmethod
    def fit(cls, normals: Sequence[NDArray[np.float64]]) -> Self:
        """From scores of the same normal units: for each line its parts' columns, float64 [n, K]."""
        return cls(tuple(tuple(Conformal.fit(column) for column in line.T) for line in normals))

    def __call__(self, scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Each line's scores [m, K] to one, float64 [m]; never falls when one rises. No p-value: calibrate it anew."""
        return combined(
            [part.level(column) for part, column in zip(parts, columns.T, strict=True)]
            for parts, columns in zip(self.lines, scores, strict=True)
        )


def combined(lines: Iterable[Sequence[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """One score from each line's levels, every part [m]: worker and benchmark put evidence together here."""
    return np.asarray(sum(harmonic(levels) for levels in lines), dtype=np.float64)


def harmonic(levels: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Level of the harmonic mean of p-values: sound when they hang together, at most log10(n) below the highest."""
    highest = np.maximum.reduce(levels)
    odds = sum(np.exp(DECADE * (level - highest)) for level in levels)
    return np.asarray(highest + np.log10(odds / len(levels)), dtype=np.float64)
