"""Outputs that wait for the next commit, and when they are too many to wait longer."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from longwatch.pipeline.outputs import Output
from longwatch.pipeline.records import Partition

MAX_PENDING = 10_000
"""Outputs held back for the next commit; past this the commit does not wait for its interval."""

MAX_PENDING_BYTES = 16 << 20
"""So many bytes of them do not wait either: dead letters hold whole records."""


class Pending:
    """Outputs in the order in which they came."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.num_bytes = 0

    def add(self, outputs: Iterable[Output]) -> None:
        """Take more."""
        new = list(outputs)
        self.outputs += new
        self.num_bytes += sum(output.size for output in new)

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget what belongs to these."""
        kept = [output for output in self.outputs if output.partition not in partitions]
        self.clear()
        self.add(kept)

    def clear(self) -> None:
        """Forget all."""
        self.outputs = []
        self.num_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether a commit is due for their sake."""
        return len(self.outputs) >= MAX_PENDING or self.num_bytes >= MAX_PENDING_BYTES
