"""Labels under seal: they open only against scores and thresholds that can no longer change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.threshold import Frozen


@dataclass(frozen=True)
class Truth:
    """What was wrong in the units that are judged.

    anomalous: bool [B]. Each of P marks says that an incident touches a unit: incident and unit, int64 [P], and onset,
    the packed row of its first event there, int64 [P]. names: each incident's text. normal_weight: how many normal
    units each one here stands for.
    """

    anomalous: NDArray[np.bool_]
    incident: NDArray[np.int64]
    unit: NDArray[np.int64]
    onset: NDArray[np.int64]
    names: tuple[str, ...]
    normal_weight: float = 1.0

    def __post_init__(self) -> None:
        if not len(self.incident) == len(self.unit) == len(self.onset):
            raise ValueError("incident, unit and onset must be as many as the marks")
        marked = np.zeros(len(self.anomalous), dtype=np.bool_)
        marked[self.unit] = True
        if (marked != self.anomalous).any():
            raise ValueError("every anomalous unit, and no other, must belong to an incident")

    @classmethod
    def nothing(cls, units: int) -> Self:
        """Nothing wrong in so many units: what is assumed where there are no labels."""
        none = np.zeros(0, dtype=np.int64)
        return cls(np.zeros(units, dtype=np.bool_), none, none, none, ())


class SealedTruth:
    """Holds labels that no method and no threshold can be given: there is no way to read them without `Frozen`."""

    def __init__(self, truth: Truth | None) -> None:
        self.__truth = truth

    @property
    def labelled(self) -> bool:
        """Whether there are labels at all."""
        return self.__truth is not None

    def open(self, frozen: Iterable[Frozen]) -> Truth:
        """The labels, for judging what is frozen; raises TypeError where anything is not, ValueError without labels."""
        given = list(frozen)
        if not given or not all(isinstance(result, Frozen) for result in given):
            raise TypeError("labels open only against frozen scores and thresholds: freeze every method first")
        if self.__truth is None:
            raise ValueError("this set has no labels: only its alarms can be counted")
        return self.__truth
