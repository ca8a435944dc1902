"""Several detectors' scores as one: each becomes a level by its own normal scores, and levels are put together."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

DECADE = float(np.log(10))


@dataclass(frozen=True)
class Conformal:
    """A score as -log10 of its conformal p-value; beyond all normals the level goes on as an exponential tail.

    normals: float64 [n], sorted. scale: excess over the highest normal that makes a level one nat higher.
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
        beyond = np.maximum(scores - self.normals[-1], 0) / (DECADE * self.scale)
        return np.asarray(-np.log10((1 + as_high) / (count + 1)) + beyond, dtype=np.float64)


@dataclass(frozen=True)
class Combination:
    """The two highest of K parts' levels, added: one witness may be odd, a second that agrees counts in full."""

    parts: tuple[Conformal, ...]

    @classmethod
    def fit(cls, normals: NDArray[np.float64]) -> Self:
        """From scores of the same normal units by each part, float64 [n, K], K at least 2."""
        return cls(tuple(Conformal.fit(column) for column in normals.T))

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores [m, K] to one, float64 [m]; it never falls when any of them rises. No p-value: calibrate it anew."""
        levels = np.stack([part.level(column) for part, column in zip(self.parts, scores.T, strict=True)], axis=1)
        return np.asarray(np.sort(levels, axis=1)[:, -2:].sum(axis=1), dtype=np.float64)
