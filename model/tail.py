"""How often normal data reaches a value, inside the sample and beyond it, and thresholds that keep to a share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

DECADE = float(np.log(10))
RESOLUTION = 0.01  # of scores: far more than they move when surprise moves by 1e-5
LEAST_RESOLUTION = 1e-3  # of a combination's part, so that surprise that moves by 1e-5 moves a level by little
NORMALS_KEPT = 16_384
TAIL_SHAPE = 0.5  # of a generalised Pareto tail: far beyond all normals, twice as far says less than twice as much


def tail_scale(ordered: NDArray[np.float64]) -> float:
    """Mean excess of sorted normals over the border of their highest twentieth, no less than the body's spread allows.

    Normals that tie at the border exceed nothing: counted in, a statistic that is 0 on nearly every normal would have a
    scale near 0, and one normal above 0 would make every later one seem immensely rare.
    """
    top = ordered[-max(5, len(ordered) // 20) :]
    beyond = top[top > top[0]] - top[0]
    spread = float(np.quantile(ordered, 0.95) - np.median(ordered)) / 3
    scale = max(float(beyond.mean()) if len(beyond) else 0.0, spread)
    return scale if scale > 1e-9 else max(float(np.std(ordered)), 1.0)


def levels_beyond(excess: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Levels that an excess over the highest normal adds, 0 where there is none."""
    beyond = np.maximum(excess, 0) / scale
    return np.asarray(np.log1p(TAIL_SHAPE * beyond) / (TAIL_SHAPE * DECADE), dtype=np.float64)


@dataclass(frozen=True)
class Tail:
    """A value as -log10 of how often normal data is at least as high: monotone and continuous.

    knots, levels: float64 [K], both increasing. Beyond the last knot the level goes on at `slope` per unit, up to
    `ceiling`; with a `shape` above 0 it goes on as a generalised Pareto tail, ever more slowly.
    """

    knots: NDArray[np.float64]
    levels: NDArray[np.float64]
    slope: float
    ceiling: float = math.inf
    shape: float = 0.0

    @classmethod
    def fit(cls, values: NDArray[np.float64], resolution: float, least_scale: float, extrapolate: bool = True) -> Self:
        """From normal values [n], n >= 1; knots closer than `resolution` are merged so that small noise stays small.

        The tail is exponential with the mean excess of the highest twentieth, at least `least_scale`; without
        `extrapolate` no value is rarer than one in n + 1.
        """
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        total = len(ordered)
        top = ordered[-min(max(10, total // 20), total) :]
        scale = max(float(np.mean(top - top[0])), least_scale)
        ceiling = math.inf if extrapolate else math.log10(total + 1)
        return cls(*_knots(ordered, resolution), 1 / (DECADE * scale), ceiling)

    @classmethod
    def part(cls, values: NDArray[np.float64]) -> Self:
        """Of one part of a combination, in whatever unit: [n], n >= 1. Beyond the normals it has a heavy tail.

        Right above the highest normal stands the level of what none of them reached, however many tie there.
        """
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        scale = tail_scale(ordered)
        resolution = max(scale / 100, LEAST_RESOLUTION)
        knots, levels = _knots(ordered, resolution)
        above, none = ordered[-1] + resolution, math.log10(len(ordered) + 1)
        return cls(np.append(knots, above), np.append(levels, none), 1 / (DECADE * scale), shape=TAIL_SHAPE)

    @classmethod
    def silent(cls) -> Self:
        """Of a part that no held-out window had: level 0, whatever the value."""
        return cls(np.zeros(1), np.zeros(1), 1.0, ceiling=0.0)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Level of each value, float64 of the same shape, from 0 to the ceiling."""
        beyond = self.slope * np.maximum(values - self.knots[-1], 0)
        if self.shape:
            beyond = np.log1p(self.shape * DECADE * beyond) / (self.shape * DECADE)
        return np.asarray(np.minimum(np.interp(values, self.knots, self.levels) + beyond, self.ceiling), np.float64)

    def value(self, level: float) -> float:
        """The lowest value of that level; of an exponential tail."""
        beyond = max(level - float(self.levels[-1]), 0.0)
        return float(np.interp(level, self.levels, self.knots)) + beyond / self.slope

    def to_arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        """The map as float64 arrays, named after `name`."""
        tail = np.array([self.slope, self.ceiling, self.shape])
        return {f"{name}.knots": self.knots, f"{name}.levels": self.levels, f"{name}.tail": tail}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The map that `to_arrays(name)` gave."""
        knots, levels, tail = (
            np.asarray(arrays[f"{name}.{part}"], dtype=np.float64) for part in ("knots", "levels", "tail")
        )
        return cls(knots, levels, *(float(each) for each in tail))


def _knots(ordered: NDArray[np.float64], resolution: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots and levels of sorted normals, merged where closer than `resolution` or a fiftieth of a level."""
    total = len(ordered)
    buckets, firsts = np.unique(np.floor(ordered / resolution), return_index=True)
    levels = -np.log10((1 + total - firsts) / (total + 1))
    kept = np.unique(np.append(np.unique(np.floor(levels * 50), return_index=True)[1], len(levels) - 1))
    return buckets[kept] * resolution, levels[kept]


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
