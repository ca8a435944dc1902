"""A relay's metrics: what its loop and its targets' threads tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from longwatch.pipeline.clock import Clock
from longwatch.pipeline.metrics.families import RELAY, Collectors
from longwatch.pipeline.metrics.health import Pulse
from longwatch.pipeline.metrics.worker import SLOW_S, bounded, labelled
from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.message import Letter
from longwatch.pipeline.relay.watch import RelayState


@dataclass
class _Before:
    """What was counted already."""

    read: int = 0
    commits: int = 0
    aborted: int = 0


class RelayMetrics:
    """A RelayWatch."""

    def __init__(self, pulse: Pulse, clock: Clock) -> None:
        self.collectors = Collectors(RELAY)
        self._pulse = pulse
        self._clock = clock
        self._before = _Before()
        self._next_slow = 0.0
        self._reasons: set[str] = set()

    def tried(self, target: str, outcome: str, seconds: float, /) -> None:
        """One try at a target has ended; runs on that target's thread."""
        self.collectors["longwatch_relay_deliveries_total"].labels(target, outcome).inc()
        self.collectors["longwatch_relay_delivery_seconds"].labels(target).observe(seconds)

    def committed(self, letters: tuple[Letter, ...], /) -> None:
        """These letters, and all in front of them, are durable."""
        self.collectors["longwatch_last_commit_timestamp_seconds"].set(self._clock.now_ms() / 1000)
        for letter in letters:
            self.collectors["longwatch_dead_letters_total"].labels(bounded(self._reasons, letter.reason)).inc()

    def told(self, state: RelayState, /) -> None:
        """A round is over."""
        now = _Before(state.read, state.commits, state.aborted)
        self.collectors.raise_to("longwatch_relay_messages_total", self._before.read, now.read)
        self.collectors.raise_to("longwatch_commits_total", self._before.commits, now.commits)
        self.collectors.raise_to("longwatch_aborted_commits_total", self._before.aborted, now.aborted)
        self._before = now
        self._pulse.beat(joined=state.joined, answers=state.answers(), waiting_since=state.waiting_since)
        self.collectors["longwatch_relay_pending_messages"].set(state.messages)
        self.collectors["longwatch_relay_pending_bytes"].set(state.bytes)
        self.collectors["longwatch_relay_paused"].set(state.paused)
        if self._clock.monotonic() >= self._next_slow:
            self._next_slow = self._clock.monotonic() + SLOW_S
            self._say_slow(state.lag(), state.waiting())

    def _say_slow(self, lag: Mapping[Partition, int], waiting: Mapping[str, int]) -> None:
        self.collectors.only("longwatch_lag_records", labelled(lag))
        self.collectors.only("longwatch_relay_waiting_messages", {(name,): count for name, count in waiting.items()})
