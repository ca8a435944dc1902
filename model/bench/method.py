"""What a detector or floor is to the benchmark: learn from the past, then score; no label passes through here."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from longwatch.model.bench.forward import BORDERS, LEAST_UNITS, forward_blocks
from longwatch.model.bench.threshold import Budget, Frozen, NormalScores, TestScores, Threshold, UnitScores
from longwatch.model.bench.units import Past, Units, join_units


class Judge(Protocol):
    """A method that has learned."""

    @property
    def normal(self) -> UnitScores:
        """Scores of the past's calibration units, as if they came later."""
        ...

    def score(self, units: Units) -> UnitScores:
        """Scores of units in order of time, all later than the past; the same units give the same scores."""
        ...


class Method(Protocol):
    """A way to learn from normal units; equal past and seed give equal judges."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def seeded(self) -> bool:
        """Whether the seed changes anything."""
        ...

    @property
    def borders(self) -> tuple[float, ...]:
        """Where the past is divided to judge each block of it by what came before; none where that is too dear."""
        ...

    def applies(self, past: Past) -> bool:
        """Whether the method means anything on such units."""
        ...

    def learn(self, past: Past, seed: int) -> Judge:
        """Learns from `past` alone."""
        ...


Scoring = Callable[[Units], UnitScores]


@dataclass(frozen=True)
class Judged:
    """A judge made of what scored the calibration units and what scores all later ones."""

    normal: UnitScores
    scoring: Scoring

    def score(self, units: Units) -> UnitScores:
        """Scores of later units."""
        return self.scoring(units)


@dataclass(frozen=True)
class Counting:
    """A method that only counts, cheap enough to learn twice: without the calibration units, and with them."""

    name: str
    count: Callable[[Units, Units], Scoring]
    timed_only: bool = False
    seeded: bool = False
    borders: tuple[float, ...] = BORDERS

    def applies(self, past: Past) -> bool:
        """Whether units have the times it needs."""
        return past.fit.timed or not self.timed_only

    def learn(self, past: Past, seed: int) -> Judged:
        """Calibration units are scored by what stands before them; later units by all of the past."""
        normal = self.count(past.fit, past.tune)(past.calibration)
        return Judged(normal, self.count(past.fit.joined(past.calibration), past.tune))


@dataclass(frozen=True)
class PartScores:
    """What a method says of normal units, twice, and of those to be judged.

    normal: calibration units, dealt out of the whole past; they make levels. later: the past's blocks, each by what was
    learned before it, as the test will be; they make thresholds. The same units as `normal` where that was too dear.
    """

    normal: UnitScores
    test: UnitScores
    later: UnitScores
    normal_days: float
    later_days: float
    seconds: float

    @classmethod
    def of(cls, method: Method, past: Past, test: Units, seed: int) -> Self:
        """Learns from the past and scores both."""
        begun = time.perf_counter()
        judge = method.learn(past, seed)
        found, normal, days = judge.score(test), judge.normal, past.calibration_days
        later, later_days = _forward(method, past, seed) or (normal, days)
        return cls(normal, found, later, days, later_days, round(time.perf_counter() - begun, 2))

    def freeze(self, name: str, budgets: Iterable[Budget], seed: int) -> Frozen:
        """The last word before labels are seen: every threshold comes from normal units alone."""
        normals = NormalScores(self.later.final, None, self.later_days)
        test = TestScores(self.test.final.copy(), self.test.so_far)
        return Frozen(name, seed, test, tuple(Threshold(normals, budget) for budget in budgets), self.seconds)


def _forward(method: Method, past: Past, seed: int) -> tuple[UnitScores, float] | None:
    """Scores of the past's later blocks and the days they span; None where they cannot be had."""
    if not method.borders or len(past.whole) < LEAST_UNITS:
        return None
    blocks = list(forward_blocks(past, method.borders))
    if not all(method.applies(earlier) for earlier, _ in blocks):
        return None
    scores = [method.learn(earlier, seed).score(block).final for earlier, block in blocks]
    return UnitScores(np.concatenate(scores)), join_units([block for _, block in blocks]).days
