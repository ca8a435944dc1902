"""Time, injected: the one place that asks the machine what time it is."""

from __future__ import annotations

import time
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


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000


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
