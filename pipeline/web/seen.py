"""How high windows scored since the worker started: from this, what another threshold would have raised."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.detection import AlertKind, Detection
from longwatch.pipeline.records import Partition

KINDS: tuple[AlertKind, ...] = ("event", "window")
STEP = 0.1
BINS = 1000
"""Scores are -log10 of a probability: a hundred is further than any calibration reaches."""

MAX_OPEN = 5_000
"""Open windows remembered one by one; the lowest are left out beyond, and are counted when they close."""

Counts = dict[tuple[str, AlertKind], NDArray[np.int64]]


@dataclass(frozen=True)
class OpenWindow:
    """One open window as it stood when it was scored last."""

    partition: Partition
    entity: str
    rule: str
    event: float
    window: float
    events: int
    start_ms: int
    last_ms: int

    @property
    def extent(self) -> tuple[int, int, int]:
        """How many events, and the times of the first and the last."""
        return self.events, self.start_ms, self.last_ms

    @property
    def highest(self) -> float:
        """The higher of its two scores."""
        return max(self.event, self.window)


class SeenScores:
    """Highest scores of windows, by rule and kind: counted when a window closes, and remembered while it is open."""

    def __init__(self) -> None:
        self._closed: Counts = {}
        self._open: dict[tuple[Partition, str], OpenWindow] = {}
        self._first_ms: int | None = None
        self._last_ms = 0

    def add(self, touched: Touched) -> None:
        """Take a window that was scored just now."""
        window, detection = touched.window, touched.window.detection
        if not isinstance(detection, Detection) or not detection.num_scores:
            return
        found = _as_row(touched, detection)
        self._first_ms = found.start_ms if self._first_ms is None else min(self._first_ms, found.start_ms)
        self._last_ms = max(self._last_ms, found.last_ms)
        if window.close is None:
            self._open[touched.partition, window.entity] = found
            if len(self._open) > 2 * MAX_OPEN:
                self._open = dict(sorted(self._open.items(), key=lambda item: -item[1].highest)[:MAX_OPEN])
        else:
            # A window that opened for this entity in the same batch is told after the one that closed before it.
            self._open.pop((touched.partition, window.entity), None)
            _count(self._closed, found)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop the open windows of partitions that were let go, or are read again."""
        self._open = {key: row for key, row in self._open.items() if key[0] not in partitions}

    def highest_open(self, count: int) -> list[OpenWindow]:
        """The open windows with the highest scores."""
        return nsmallest(count, self._open.values(), key=lambda row: (-row.highest, row.entity))

    @property
    def span_ms(self) -> int:
        """Event time from the first event scored to the last."""
        return 0 if self._first_ms is None else self._last_ms - self._first_ms

    def reaching(self) -> Iterator[tuple[str, AlertKind, int, NDArray[np.int64]]]:
        """(rule, kind, windows, how many reach each multiple of STEP), trailing zeros cut."""
        counts = {key: found.copy() for key, found in self._closed.items()}
        for row in self._open.values():
            _count(counts, row)
        for (rule, kind), found in sorted(counts.items()):
            reach = found[::-1].cumsum()[::-1]
            yield rule, kind, int(reach[0]), reach[: int(np.count_nonzero(reach)) + 1]


def _as_row(touched: Touched, detection: Detection) -> OpenWindow:
    window, newest = touched.window, detection.newest
    times = window.columns["event_time_ms"]
    return OpenWindow(
        touched.partition,
        window.entity,
        detection.rule,
        detection.highest_event,
        float(newest.window[-1]) if newest is not None else 0.0,
        window.num_events,
        int(times[window.context]),
        int(times[-1]),
    )


def _count(counts: Counts, row: OpenWindow) -> None:
    for kind in KINDS:
        score = row.event if kind == "event" else row.window
        found = counts.setdefault((row.rule, kind), np.zeros(BINS, np.int64))
        # Down to the multiple below: a window reaches a threshold at that multiple, and none above its own score.
        found[min(BINS - 1, max(0, int(np.floor(score / STEP + 1e-9))))] += 1
