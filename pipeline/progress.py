"""What a worker has done since it started, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import structlog

from longwatch.pipeline.engine import Result
from longwatch.pipeline.outputs import Kind

if TYPE_CHECKING:
    from longwatch.pipeline.watch import State

log = structlog.get_logger("longwatch.worker")

_NAMES = {
    Kind.ALERT: "alerts",
    Kind.DEAD_LETTER: "dead_letters",
    Kind.LATE: "late",
    Kind.SUPPRESSED: "suppressed",
}


@dataclass
class Progress:
    """Counts since the start: `unseen` are events whose template training lacked, `lost` partitions taken by others."""

    records: int = 0
    alerts: int = 0
    dead_letters: int = 0
    late: int = 0
    suppressed: int = 0
    commits: int = 0
    aborted: int = 0
    events: int = 0
    unseen: int = 0
    rebalances: int = 0
    lost: int = 0

    def count(self, result: Result) -> None:
        """Add what the engine did."""
        self.records += result.num_records
        self.events += result.num_events
        self.unseen += result.num_unseen
        for output in result.outputs:
            if not output.kind.is_record:
                name = _NAMES[output.kind]
                setattr(self, name, getattr(self, name) + 1)


class Diary:
    """Logs every so many seconds what was done so far, and what is held in memory."""

    def __init__(self, every_s: float, now: float) -> None:
        self._every_s = every_s
        self._last = now

    def tell(self, now: float, state: State) -> None:
        """At `now` of a monotonic clock."""
        if now - self._last >= self._every_s:
            self._last = now
            log.info("progress", **asdict(state.progress), open_windows=state.open_windows, pending=state.pending)
