"""What a window and an entity's session are, and the rules that end them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from longwatch.pipeline.window_columns import Rows, WindowColumns

NEVER_MS = -(2**62)

IDLE_GAP = "idle_gap"
MAX_DURATION = "max_duration"
MAX_EVENTS = "max_events"
PARTITION_IDLE = "partition_idle"
BUNDLE_SWAPPED = "bundle_swapped"


@dataclass(frozen=True)
class WindowRules:
    """What closes a window, in event time; `overlap` events of context open the next window of the same entity."""

    max_events: int = 4096
    idle_gap_ms: int = 30 * 60_000
    max_duration_ms: int = 24 * 3_600_000
    overlap: int = 0
    allowed_lateness_ms: int = 0
    idle_timeout_ms: int | None = None


@dataclass(frozen=True)
class Close:
    """Why a window closed, and the record that showed it; the close belongs to that offset's output."""

    reason: str
    trigger_offset: int

    @property
    def entity_went_quiet(self) -> bool:
        """Whether the end itself is an observation: nothing followed, although something could have."""
        return self.reason in (IDLE_GAP, PARTITION_IDLE)


class ReplayPoint(NamedTuple):
    """Where reading again rebuilds the open windows, and the highest event time and arrival before that offset."""

    offset: int
    event_time_ms: int
    arrival_ms: int

    @classmethod
    def at(cls, rows: Rows, row: int) -> ReplayPoint:
        """The point from which a row is the first to be read."""
        return cls(*(int(rows[name][row]) for name in _REPLAY_COLUMNS))


_REPLAY_COLUMNS = ("offset", "partition_time_ms", "partition_arrival_ms")


@dataclass
class Window:
    """One entity's window: `context` leading rows repeat the window before and are never scored again."""

    entity: str
    first_offset: int
    context: int
    columns: WindowColumns
    num_scored: int
    close: Close | None = None
    detection: Any = None

    @property
    def num_events(self) -> int:
        """Events of its own, context not counted."""
        return len(self.columns) - self.context


@dataclass
class Session:
    """What is remembered of an entity between batches; `tail` is the context that its next window opens with."""

    cell_end_ms: int
    replay: ReplayPoint
    last_time_ms: int
    window: Window | None = None
    tail: Rows = field(default_factory=Rows.none)
    cell_is_over: bool = False
    queued_ms: int | None = None

    def joins(self, time_ms: int, rules: WindowRules) -> bool:
        """Whether an event at `time_ms` still belongs to the session."""
        return time_ms < self.cell_end_ms and time_ms - self.last_time_ms <= rules.idle_gap_ms

    def deadline_ms(self, rules: WindowRules) -> int:
        """Event time past which the watermark changes the session: ends its grid cell, or the session itself."""
        idle_ms = self.last_time_ms + rules.idle_gap_ms
        return idle_ms if self.cell_is_over else min(idle_ms, self.cell_end_ms - 1)

    def close_reason(self, rules: WindowRules) -> str:
        """Which of the two rules sets the deadline."""
        return IDLE_GAP if self.last_time_ms + rules.idle_gap_ms < self.cell_end_ms else MAX_DURATION

    def close_window(self, close: Close) -> Window | None:
        """Close the open window, if there is one, keeping what the next would need of it."""
        window, self.window = self.window, None
        if window is not None:
            window.close = close
        return window
