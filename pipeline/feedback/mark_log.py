"""Where a worker reads marks from while it runs: a topic, or a file; both are only ever added to."""

from __future__ import annotations

from typing import Protocol

from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.records import Partition


class MarkLog(Protocol):
    """A log of marks, read into a book."""

    @property
    def book(self) -> MarkBook:
        """All that was read so far."""
        ...

    def look(self) -> None:
        """Read what is new, without waiting for it; what cannot be had now is had later."""
        ...

    def reach(self, upto: int) -> None:
        """Have all before `upto` read: a commit was made under it. Raises a retriable BrokerError, or StateError."""
        ...


def reach_steps(marks: MarkLog | None, partition: Partition, position: Position | None) -> None:
    """Have the marks at hand that a partition was committed under."""
    steps = () if position is None else position.metadata.steps
    if not steps:
        return
    if marks is None:
        raise StateError(
            f"{partition}: committed under marks, and the configuration has no `feedback`",
            "write the section again, with the topic or file that the marks are in; `longwatch feedback withdraw` "
            "takes marks back",
        )
    marks.reach(steps[-1][1])
