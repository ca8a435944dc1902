"""What a window has shown so far: its event scores, its running score, and which alerts are open on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from longwatch.pipeline.alerts import ThresholdNote

AlertKind = Literal["event", "window"]

_MAX_PARTS = 64


@dataclass(frozen=True)
class Scores:
    """Per event, [n]: network surprise in nats, evidence flags [n, K], event score, and the window's score so far."""

    surprise: NDArray[np.float32]
    flags: NDArray[np.bool_]
    event: NDArray[np.float64]
    window: NDArray[np.float64]

    def of(self, kind: AlertKind) -> NDArray[np.float64]:
        """The score that thresholds of this kind are compared with."""
        return self.event if kind == "event" else self.window

    def __len__(self) -> int:
        return len(self.event)

    def slice(self, start: int, stop: int) -> Scores:
        """Events start:stop."""
        rows = slice(start, stop)
        return Scores(self.surprise[rows], self.flags[rows], self.event[rows], self.window[rows])

    @classmethod
    def join(cls, parts: list[Scores]) -> Scores:
        """Consecutive parts as one."""
        names = ("surprise", "flags", "event", "window")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass
class AlertState:
    """How far an alert has come; `level` 0 is not open, and rises as the excess over the threshold doubles.

    `told` says whether a message of it was raised, `silenced_by` what silenced the last one that was not;
    `threshold` is the one that it last exceeded.
    """

    level: int = 0
    revision: int = 0
    told: bool = False
    silenced_by: str | None = None
    threshold: ThresholdNote | None = None


@dataclass
class Detection:
    """Mutable companion of one open window; `level` is added to its threshold, None before that is known."""

    statistic: NDArray[np.int64]
    first_row: int
    num_scores: int = 0
    level: float | None = None
    parts: list[Scores] = field(default_factory=list)
    alerts: dict[tuple[AlertKind, str], AlertState] = field(default_factory=dict)
    rule: str = ""
    newest: Scores | None = None
    highest_event: float = 0.0

    def add(self, scores: Scores) -> int:
        """Append scores of the next events; gives how many there were before."""
        before = self.num_scores
        if len(scores):
            # Joined, and so copied: a slice would keep its whole batch in memory for as long as the window is open.
            self.newest = Scores.join([scores])
            self.parts.append(self.newest)
            self.num_scores += len(scores)
            self.highest_event = max(self.highest_event, float(scores.event.max()))
        if len(self.parts) > _MAX_PARTS:
            self.parts = [Scores.join(self.parts)]
        return before

    @property
    def scores(self) -> Scores:
        """All scores so far."""
        if len(self.parts) > 1:
            self.parts = [Scores.join(self.parts)]
        return self.parts[0]

    def top_rows(self, stop: int, count: int) -> list[int]:
        """Rows of the highest event scores among the first `stop`, earlier first among equals at 4 decimals."""
        scores = np.round(self.scores.event[:stop], 4)
        return [int(row) for row in np.lexsort((np.arange(len(scores)), -scores))[:count]]


def levels(scores: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """0 below the threshold, 1 at it, and one more each time the excess in -log10 p doubles; int64 [n]."""
    excess = np.maximum(scores - threshold, 0)
    return np.where(scores >= threshold, 1 + np.floor(np.log2(1 + excess)).astype(np.int64), 0)


def escalations(state: AlertState, scores: NDArray[np.float64], threshold: float) -> Iterator[tuple[int, int]]:
    """(row, level) wherever the highest level so far rises: a function of the events, not of how they were batched."""
    highest = np.maximum.accumulate(np.concatenate([[state.level], levels(scores, threshold)]))
    for row in np.flatnonzero(np.diff(highest)):
        yield int(row), int(highest[row + 1])
