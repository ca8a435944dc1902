"""Thresholds that cannot have seen a label: a threshold *is* normal scores and a budget, and nothing else makes one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from longwatch.model.tail import Normals


@dataclass(frozen=True)
class UnitScores:
    """What a method says of units, higher is odder: after the last event, and where it can after each event so far.

    final: float64 [B]. so_far: packed float64 [M] over unscored tokens, never falling within a unit; None where the
    method speaks only when a unit is over.
    """

    final: NDArray[np.float64]
    so_far: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.final).all():
            raise ValueError("scores must be finite")


@dataclass(frozen=True)
class NormalScores(UnitScores):
    """Scores of calibration units; `PartScores.freeze` makes them from the calibration part of a past."""

    days: float = float("nan")


@dataclass(frozen=True)
class TestScores(UnitScores):
    """Scores of the units that are judged: no threshold can be made of them."""

    __test__ = False


@dataclass(frozen=True)
class Budget:
    """False alarms that may be: a share of normal units, or so many a day."""

    share: float | None = None
    per_day: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.share, self.per_day) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError("a budget is one number above 0: a share of normal units, or alarms a day")

    def __str__(self) -> str:
        return f"{self.share:.3g} of normals" if self.share is not None else f"{self.per_day:g} a day"


@dataclass(frozen=True)
class Threshold:
    """The score at or above which to alarm; derived, never given, so that no label can have moved it."""

    normals: NormalScores
    budget: Budget

    def __post_init__(self) -> None:
        if not isinstance(self.normals, NormalScores):
            raise TypeError(
                f"a threshold is made of NormalScores, not {type(self.normals).__name__}: "
                "scores of judged units may have been chosen by their labels"
            )

    @cached_property
    def value(self) -> float:
        """The lowest score that alarms."""
        count = len(self.normals.final)
        if self.budget.per_day is not None and not np.isfinite(self.normals.days):
            raise ValueError(f"a budget of {self.budget} needs times: give a share of normal units instead")
        share = self.budget.share if self.budget.share is not None else self._share_of_day(count)
        if share * (count + 1) >= count:
            return float(self.normals.final.min())
        return Normals.fit(self.normals.final, 1.0).threshold(share)

    def _share_of_day(self, count: int) -> float:
        return float(self.budget.per_day or 0) * self.normals.days / count


@dataclass(frozen=True)
class Frozen:
    """A method's last word before labels are seen: its scores of the judged units, and a threshold for each budget."""

    method: str
    seed: int
    scores: TestScores
    thresholds: tuple[Threshold, ...]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.scores, TestScores) or not all(isinstance(t, Threshold) for t in self.thresholds):
            raise TypeError("frozen results are TestScores and Thresholds")
        self.scores.final.setflags(write=False)
