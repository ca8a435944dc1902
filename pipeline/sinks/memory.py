"""Outputs kept in memory: what a backtest reports on."""

from __future__ import annotations

from collections.abc import Collection

from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition


class MemoryStore:
    """Starts with nothing committed, and keeps outputs of the given kinds; the rest is let go."""

    def __init__(self, kinds: Collection[Kind] = tuple(Kind)) -> None:
        self._kinds = frozenset(kinds)
        self.outputs: list[Output] = []
        self.positions: dict[Partition, Position] = {}

    def committed(self, partition: Partition) -> Position | None:
        """Last committed position of a partition; None where nothing was."""
        return self.positions.get(partition)

    def commit(self, outputs: list[Output], positions: dict[Partition, Position]) -> None:
        """Keep both."""
        self.outputs += [output for output in outputs if output.kind in self._kinds]
        self.positions |= positions

    def close(self) -> None:
        """Nothing to let go of."""

    def of(self, kind: Kind) -> list[Output]:
        """Outputs of one kind, in commit order."""
        return [output for output in self.outputs if output.kind is kind]
