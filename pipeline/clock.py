"""Time, injected: the one place that asks the machine what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What the worker asks of time."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def now_ms(self) -> int:
        """Milliseconds since 1970, to compare with arrival times."""
        ...


def _since_boot() -> float:
    # Counts the time that the machine sleeps, too; elsewhere than on Linux, there is no such clock.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SystemClock:
    """The machine's clocks: the wall's is read once and goes on evenly, so that setting it decides nothing here."""

    def __init__(self, wall: Callable[[], float] = time.time, even: Callable[[], float] = _since_boot) -> None:
        self._even = even
        self._zero = wall() - even()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return int((self._zero + self._even()) * 1000)


@dataclass
class ManualClock:
    """A clock that moves only when told to; a replay's clock, and a test's."""

    ms: int = 0

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self.ms / 1000

    def now_ms(self) -> int:
        """Milliseconds it was set to."""
        return self.ms

    def advance(self, ms: int) -> None:
        """Move on."""
        self.ms += ms
