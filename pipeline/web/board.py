"""What the page shows, kept by the worker's own thread and handed over as values that never change again.

The worker writes between two steps of its loop; a server's thread reads `snapshot` and `feed` whenever it likes. There
is no lock and no queue: a browser that is slow, or gone, is nothing the worker could notice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.feedback.marks import Mark, MarkBook
from longwatch.pipeline.masking.masker import NOTHING, Masker
from longwatch.pipeline.outputs import Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.watch import State
from longwatch.pipeline.web.entities import EntityTrails
from longwatch.pipeline.web.feed import Feed
from longwatch.pipeline.web.seen import STEP, SeenScores

log = structlog.get_logger("longwatch.web")

PUBLISH_S = 0.5
SEEN_EVERY = 6
"""Counting all scores again takes milliseconds where many windows are open: not with each snapshot."""

SECONDS = 300
"""Length of the throughput's history."""

MOST_WINDOWS, MOST_ENTITIES, MOST_PARTITIONS, MOST_MARKS = 50, 40, 64, 200


@dataclass(frozen=True)
class Snapshot:
    """One moment; `number` rises with each."""

    number: int = 0
    content: dict[str, Any] = field(default_factory=dict)


class Throughput:
    """Records by second of the last minutes."""

    def __init__(self, now: float) -> None:
        self._second = int(now)
        self._last = 0
        self.by_second: list[int] = [0]

    def reach(self, records: int, now: float) -> None:
        """So many records by now."""
        passed = min(SECONDS, int(now) - self._second)
        if passed > 0:
            self.by_second = [*self.by_second, *[0] * passed][-SECONDS:]
            self._second = int(now)
        self.by_second[-1] += records - self._last
        self._last = records

    @property
    def rate(self) -> float:
        """Records a second over the last five whole seconds."""
        whole = self.by_second[-6:-1]
        return sum(whole) / len(whole) if whole else 0.0


class Board:
    """A Watch. An error of its own ends the watching, never the worker."""

    def __init__(self, clock: Clock, book: MarkBook | None = None, masker: Masker = NOTHING) -> None:
        self._clock = clock
        self._masker = masker
        self._book = book
        self._seen = SeenScores()
        self._entities = EntityTrails()
        self._throughput = Throughput(clock.monotonic())
        self._published = clock.monotonic() - PUBLISH_S
        self._broken = False
        self._counted: dict[str, Any] = {}
        self.started_ms = clock.now_ms()
        self.feed = Feed()
        self.snapshot = Snapshot()

    def scored(self, touched: Sequence[Touched], /) -> None:
        """Take the scores of the windows."""
        if self._broken or not touched:
            return
        try:
            now_ms = self._clock.now_ms()
            for item in touched:
                self._seen.add(item)
                self._entities.add(item, now_ms)
        except Exception:
            self._break()

    def committed(self, outputs: Sequence[Output], /) -> None:
        """Alerts are shown once they are committed."""
        if not self._broken:
            self.feed.add([(each.kind, each.value) for each in outputs if each.kind.holds_alert])

    def let_go(self, partitions: Collection[Partition], /) -> None:
        """Their open windows are another's, or are read again."""
        if not self._broken:
            self._seen.forget(frozenset(partitions))

    def told(self, state: State, /) -> None:
        """Publish a snapshot twice a second."""
        now = self._clock.monotonic()
        if self._broken or now - self._published < PUBLISH_S:
            return
        try:
            self._published = now
            self._throughput.reach(state.progress.records, now)
            self.snapshot = Snapshot(self.snapshot.number + 1, self._content(state))
        except Exception:
            self._break()

    def _break(self) -> None:
        self._broken = True
        log.exception("page_broken", effect="the page stands still; records are read and alerts raised as before")

    def _content(self, state: State) -> dict[str, Any]:
        now_ms, progress = self._clock.now_ms(), state.progress
        lag = sorted(state.lag().items())
        return {
            "at": now_ms,
            "records": progress.records,
            "alerts": progress.alerts,
            "deadLetters": progress.dead_letters,
            "late": progress.late,
            "commits": progress.commits,
            "aborted": progress.aborted,
            "pending": state.pending,
            "behind": state.behind,
            "rate": round(self._throughput.rate, 1),
            "bySecond": list(self._throughput.by_second),
            "lag": [[str(partition), left] for partition, left in lag[:MOST_PARTITIONS]],
            "lagTotal": sum(left for _, left in lag) if lag else None,
            "openWindows": state.open_windows,
            "windows": self._windows(),
            "entities": self._surprise(now_ms),
            "seen": self._seen_lately(),
            "suppressed": progress.suppressed,
            "marks": self._marks(),
        }

    def _marks(self) -> list[dict[str, Any]]:
        if self._book is None:
            return []
        in_force = list(self._book.in_force(self._book.changed_at))
        return [as_row(mark) for mark in in_force[-MOST_MARKS:][::-1]]

    def _windows(self) -> list[list[Any]]:
        return [
            [
                self._masker.name(row.entity),
                str(row.partition),
                row.rule,
                round(row.window, 2),
                round(row.event, 2),
                *row.extent,
            ]
            for row in self._seen.highest_open(MOST_WINDOWS)
        ]

    def _surprise(self, now_ms: int) -> list[list[Any]]:
        return [
            [self._masker.name(entity), [round(value, 2) for value in highest], events, round(mean, 3)]
            for entity, highest, events, mean in self._entities.highest(MOST_ENTITIES, now_ms)
        ]

    def _seen_lately(self) -> dict[str, Any]:
        if self.snapshot.number % SEEN_EVERY == 0:
            self._counted = self._seen_scores()
        return self._counted

    def _seen_scores(self) -> dict[str, Any]:
        reaching = [
            {"rule": rule, "kind": kind, "windows": windows, "reaching": reach.tolist()}
            for rule, kind, windows, reach in self._seen.reaching()
        ]
        return {"step": STEP, "spanMs": self._seen.span_ms, "counts": reaching}


def as_row(mark: Mark) -> dict[str, Any]:
    """A mark as the page lists it."""
    return {
        "id": mark.mark_id,
        "what": f"{mark.kind} alerts of {mark.rule}",
        "entities": mark.entities,
        "untilMs": mark.until_ms,
        "templates": mark.templates or mark.pattern,
        "reason": mark.reason,
        "by": mark.by,
    }
