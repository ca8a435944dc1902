"""Several detectors' scores as one: each becomes a level by its own normal scores, and levels are put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

DECADE = float(np.log(10))
TAIL_SHAPE = 0.5  # of a generalised Pareto tail: far beyond all normals, twice as far says less than twice as much


@dataclass(frozen=True)
class Conformal:
    """A score as -log10 of its conformal p-value; beyond all normals the level goes on as a generalised Pareto tail.

    normals: float64 [n], sorted. scale: excess over the highest normal that makes a level one nat higher, at first.
    """

    normals: NDArray[np.float64]
    scale: float

    @classmethod
    def fit(cls, normals: NDArray[np.float64]) -> Self:
        """The tail's scale is the mean excess of the highest twentieth, but no less than the body's spread allows."""
        ordered = np.sort(normals)
        top = ordered[-max(5, len(ordered) // 20) :]
        spread = float(np.quantile(ordered, 0.95) - np.median(ordered)) / 3
        scale = max(float(np.mean(top - top[0])), spread)
        return cls(ordered, scale if scale > 1e-9 else max(float(np.std(ordered)), 1.0))

    def level(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """At most a share 10**-level of exchangeable normals is expected as high, up to level log10(n + 1)."""
        count = len(self.normals)
        as_high = count - np.searchsorted(self.normals, scores, side="left")
        beyond = np.maximum(scores - self.normals[-1], 0) / self.scale
        tail = np.log1p(TAIL_SHAPE * beyond) / (TAIL_SHAPE * DECADE)
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
        levels = [_line(parts, columns) for parts, columns in zip(self.lines, scores, strict=True)]
        return np.asarray(np.sum(levels, axis=0), dtype=np.float64)


def _line(parts: tuple[Conformal, ...], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    levels = np.stack([part.level(column) for part, column in zip(parts, scores.T, strict=True)])
    highest = levels.max(axis=0)
    odds = np.exp(DECADE * (levels - highest)).mean(axis=0)
    return np.asarray(highest + np.log10(odds), dtype=np.float64)
