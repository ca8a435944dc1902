"""What a worker is told before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Stop(Protocol):
    """Asked between polls: a `threading.Event` that a signal sets."""

    def is_set(self) -> bool:
        """Whether to drain and return."""
        ...


@dataclass(frozen=True)
class WorkerSettings:
    """How often to commit, and whether to return once everything there is has been read.

    Records are processed once `gather_records` of them are there, or the oldest has waited for `gather_s`.
    """

    commit_interval_s: float = 0.5
    gather_records: int = 4096
    gather_s: float = 0.0
    until_end: bool = False
    idle_timeout_ms: int | None = None
    progress_interval_s: float = 10.0
