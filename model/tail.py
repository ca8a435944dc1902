"""How often normal data reaches a value, inside the sample and beyond it, and thresholds that keep to a share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

DECADE = float(np.log(10))
RESOLUTION = 0.01  # of scores: far more than they move when surprise moves by 1e-5
NORMALS_KEPT = 16_384


@dataclass(frozen=True)
class Tail:
    """A value as -log10 of how often normal data is at least as high: monotone and continuous.

    knots, levels: float64 [K], both increasing. Beyond the last knot the level goes on at `slope` per unit, up to
    `ceiling`.
    """

    knots: NDArray[np.float64]
    levels: NDArray[np.float64]
    slope: float
    ceiling: float = math.inf

    @classmethod
    def fit(cls, values: NDArray[np.float64], resolution: float, least_scale: float, extrapolate: bool = True) -> Self:
        """From normal values [n], n >= 1; knots closer than `resolution` are merged so that small noise stays small.

        The tail is exponential with the mean excess of the highest twentieth, at least `least_scale`; without
        `extrapolate` no value is rarer than one in n + 1.
        """
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        total = len(ordered)
        buckets, firsts = np.unique(np.floor(ordered / resolution), return_index=True)
        levels = -np.log10((1 + total - firsts) / (total + 1))
        kept = np.unique(np.append(np.unique(np.floor(levels * 50), return_index=True)[1], len(levels) - 1))
        top = ordered[-min(max(10, total // 20), total) :]
        scale = max(float(np.mean(top - top[0])), least_scale)
        ceiling = math.inf if extrapolate else math.log10(total + 1)
        return cls(buckets[kept] * resolution, levels[kept], 1 / (DECADE * scale), ceiling)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Level of each value, float64 of the same shape, from 0 to the ceiling."""
        beyond = np.maximum(values - self.knots[-1], 0)
        level = np.interp(values, self.knots, self.levels) + self.slope * beyond
        return np.asarray(np.minimum(level, self.ceiling), dtype=np.float64)

    def value(self, level: float) -> float:
        """The lowest value of that level."""
        beyond = max(level - float(self.levels[-1]), 0.0)
        return float(np.interp(level, self.levels, self.knots)) + beyond / self.slope

    def to_arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        """The map as float64 arrays, named after `name`."""
        tail = np.array([self.slope, self.ceiling])
        return {f"{name}.knots": self.knots, f"{name}.levels": self.levels, f"{name}.tail": tail}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The map that `to_arrays(name)` gave."""
        knots, levels, tail = (
            np.asarray(arrays[f"{name}.{part}"], dtype=np.float64) for part in ("knots", "levels", "tail")
        )
        return cls(knots, levels, float(tail[0]), float(tail[1]))


@dataclass(frozen=True)
class Normals:
    """Scores of held-out normal events or windows: highest first, float64 [n], of `total` in all, in `days` days."""

    scores: NDArray[np.float64]
    total: int
    days: float
    tail: Tail

    @classmethod
    def fit(cls, scores: NDArray[np.float64], days: float) -> Self:
        """From every normal score of the held-out time."""
        tail = Tail.fit(scores, resolution=RESOLUTION, least_scale=1 / DECADE)
        return cls(np.sort(scores)[::-1][:NORMALS_KEPT].copy(), len(scores), days, tail)

    def rate(self, threshold: float) -> float:
        """Share of normals expected at or above the threshold, never 0: one more than was seen, or the tail."""
        reached = int(np.searchsorted(-self.scores, -threshold, side="right"))
        if reached and (reached < len(self.scores) or len(self.scores) == self.total):
            return (1 + reached) / (1 + self.total)
        return float(10 ** -self.tail(np.array([threshold]))[0])

    def threshold(self, share: float) -> float:
        """A threshold that at most this share of normals is expected to reach, beyond the sample by the tail.

        It lies in the middle of a wide gap between two normals, or above all of them, so that noise decides little.
        """
        if not share > 0:
            raise ValueError(f"the share of normals that may alert must be above 0, not {share}")
        allowed = int(share * (1 + self.total) * (1 + 1e-9)) - 1
        if allowed >= self.total:
            return 0.0
        if 1 <= allowed < len(self.scores):
            return self._middle_of_gap(allowed)
        by_tail = self.tail.value(-float(np.log10(share)))
        return by_tail if allowed >= len(self.scores) else max(by_tail, self._above_all())

    def _middle_of_gap(self, allowed: int) -> float:
        """The widest gap that leaves `allowed` normals above it or up to a fifth fewer; the next one where all tie."""
        gaps = self.scores[:allowed] - self.scores[1 : allowed + 1]
        least = -(-4 * allowed // 5)
        above = allowed - int(np.argmax(gaps[least - 1 :][::-1]))
        if gaps[above - 1] == 0:
            above = int(np.max(np.flatnonzero(gaps), initial=-1)) + 1
        return float(self.scores[above - 1] + self.scores[above]) / 2 if above else self._above_all()

    def _above_all(self) -> float:
        return float(self.scores[0]) + RESOLUTION / 2

    def to_arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        """Every field as an array, named after `name`."""
        own = {
            f"{name}.scores": self.scores,
            f"{name}.total": np.array([self.total]),
            f"{name}.days": np.array([self.days]),
        }
        return {**own, **self.tail.to_arrays(f"{name}.level")}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The normals that `to_arrays(name)` gave."""
        scores = np.asarray(arrays[f"{name}.scores"], dtype=np.float64)
        total, days = int(arrays[f"{name}.total"][0]), float(arrays[f"{name}.days"][0])
        return cls(scores, total, days, Tail.from_arrays(f"{name}.level", arrays))
