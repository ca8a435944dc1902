"""A worker's metrics, kept by its own thread between two steps of its loop."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import msgspec

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.metrics.families import WORKER, Collectors
from longwatch.pipeline.metrics.health import Pulse
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.records import Partition
from longwatch.pipeline.stages import Stage
from longwatch.pipeline.watch import State

SLOW_S = 1.0
"""How often what takes longer to find out is asked again."""

MOST_REASONS = 64
"""Reasons are codes of ours; should one ever be more, it is counted as `other`."""

_COUNTED = {
    "records": "longwatch_records_total",
    "events": "longwatch_events_total",
    "unseen": "longwatch_unseen_template_events_total",
    "commits": "longwatch_commits_total",
    "aborted": "longwatch_aborted_commits_total",
    "rebalances": "longwatch_rebalances_total",
    "lost": "longwatch_partitions_lost_total",
}


_PLAIN = {Kind.LATE: "longwatch_late_events_total", Kind.SUPPRESSED: "longwatch_suppressed_total"}


class _AlertLabels(msgspec.Struct):
    """What of an alert message becomes a label."""

    rule: str
    kind: str
    lifecycle: str


class WorkerMetrics:
    """A Watch, and what times the stages."""

    def __init__(self, pulse: Pulse, clock: Clock) -> None:
        self.collectors = Collectors(WORKER)
        self._pulse = pulse
        self._clock = clock
        self._before = Progress()
        self._next_slow = 0.0
        self._reasons: set[str] = set()
        self._stages = {stage: self.collectors["longwatch_stage_seconds"].labels(stage.value) for stage in Stage}

    def timed(self, stage: Stage) -> AbstractContextManager[None]:
        """Observe how long the block takes."""
        timer: AbstractContextManager[None] = self._stages[stage].time()
        return timer

    def scored(self, touched: Sequence[Touched], /) -> None:
        """Nothing: what a window holds is no label."""

    def committed(self, outputs: Sequence[Output], /) -> None:
        """Count what is durable now; what was aborted is never counted."""
        self.collectors["longwatch_last_commit_timestamp_seconds"].set(self._clock.now_ms() / 1000)
        for output in outputs:
            self._count(output)

    def let_go(self, partitions: Collection[Partition], /) -> None:
        """Nothing: only what is committed was counted."""

    def told(self, state: State, /) -> None:
        """A round is over."""
        for field, name in _COUNTED.items():
            self.collectors.raise_to(name, getattr(self._before, field), getattr(state.progress, field))
        self._before = replace(state.progress)
        self._pulse.beat(joined=state.joined, answers=state.answers(), waiting_since=state.waiting_since)
        self.collectors["longwatch_open_windows"].set(state.open_windows)
        self.collectors["longwatch_pending_outputs"].set(state.pending)
        if self._clock.monotonic() >= self._next_slow:
            self._next_slow = self._clock.monotonic() + SLOW_S
            self._say_partitions(state)

    def _say_partitions(self, state: State) -> None:
        now_ms, replay = self._clock.now_ms(), state.replay()
        delays = {each: (now_ms - time) / 1000 for each, time in state.watermarks().items()}
        self.collectors["longwatch_assigned_partitions"].set(len(replay))
        self.collectors.only("longwatch_lag_records", labelled(state.lag()))
        self.collectors.only("longwatch_watermark_delay_seconds", labelled(delays))
        self.collectors.only("longwatch_replay_records", labelled(replay))

    def _count(self, output: Output) -> None:
        if output.kind is Kind.ALERT:
            labels = msgspec.json.decode(output.value, type=_AlertLabels)
            self.collectors["longwatch_alerts_total"].labels(labels.rule, labels.kind, labels.lifecycle).inc()
        elif output.kind in _PLAIN:
            self.collectors[_PLAIN[output.kind]].inc()
        elif output.kind is Kind.DEAD_LETTER:
            reason = bounded(self._reasons, _reason(output.headers))
            self.collectors["longwatch_dead_letters_total"].labels(reason).inc()


def labelled(values: Mapping[Partition, float]) -> dict[tuple[str, ...], float]:
    """By topic and number, as labels."""
    return {(each.topic, str(each.partition)): value for each, value in values.items()}


def bounded(known: set[str], value: str) -> str:
    """The value, or `other` once too many different ones were seen."""
    if value in known or len(known) < MOST_REASONS:
        known.add(value)
        return value
    return "other"


def _reason(headers: Iterable[tuple[str, bytes]]) -> str:
    return next((value.decode() for name, value in headers if name == "longwatch.reason"), "unknown")
