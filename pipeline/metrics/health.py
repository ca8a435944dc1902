"""Whether a process lives and does its work: judged from what its loop last wrote, by whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from longwatch.pipeline.clock import Clock

START_S = 600.0
"""Opening a bundle, compiling the template kernel and joining a group may take so long before the first round."""


@dataclass(frozen=True)
class Limits:
    """How long the loop may stand still, and how long work may wait for its commit."""

    stalled_s: float = 60.0
    unready_s: float = 30.0


class Pulse:
    """Written by the loop's thread, read by the server's: single values, each replaced as a whole.

    `waiting_since` is the clock's time of the oldest work that is not committed. `silent_since` is when the broker
    stopped answering; `draining` says that it was told to stop.
    """

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._began = clock.monotonic()
        self._last_round: float | None = None
        self._silent_since: float | None = None
        self.opened = False
        self.joined = False
        self.waiting_since: float | None = None
        self.draining: Callable[[], bool] = lambda: False

    def beat(self, *, joined: bool, answers: bool, waiting_since: float | None) -> None:
        """A round is over."""
        self._last_round = self._clock.monotonic()
        self.joined = joined
        self.waiting_since = waiting_since
        if answers:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = self._last_round

    @property
    def age_s(self) -> float:
        """Seconds since the last round, or since the start before the first."""
        return self._clock.monotonic() - (self._began if self._last_round is None else self._last_round)

    @property
    def uncommitted_s(self) -> float:
        """Seconds that the oldest uncommitted work has waited; 0 where all is committed."""
        since = self.waiting_since
        return 0.0 if since is None else max(0.0, self._clock.monotonic() - since)

    def sick(self) -> list[str]:
        """Why a supervisor should start it again; empty while the loop goes round. Says nothing of the broker."""
        starting = self._last_round is None
        limit = max(START_S, self._limits.stalled_s) if starting else self._limits.stalled_s
        if self.age_s <= limit:
            return []
        return [f"{'not started' if starting else 'the loop stands still'} since {self.age_s:.0f} s"]

    def unready(self) -> list[str]:
        """Why it does no work; empty while it is assigned, its bundle is loaded and its work is committed."""
        reasons = list(self._reasons())
        if self._last_round is not None and self.age_s > self._limits.unready_s:
            reasons.append(f"the loop stands still since {self.age_s:.0f} s")
        return reasons

    def _reasons(self) -> list[str]:
        found = []
        if self.draining():
            found.append("it was told to stop")
        if not self.opened:
            found.append("the bundle is not loaded")
        if not self.joined:
            found.append("the group has assigned nothing yet")
        if self._silent_s() > self._limits.unready_s / 2:
            found.append(f"the broker does not answer since {self._silent_s():.0f} s")
        if self.uncommitted_s > self._limits.unready_s:
            found.append(f"work waits for its commit since {self.uncommitted_s:.0f} s")
        return found

    def _silent_s(self) -> float:
        since = self._silent_since
        return 0.0 if since is None else self._clock.monotonic() - since
