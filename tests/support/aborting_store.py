"""A store whose commits abort when a test says so."""

from dataclasses import dataclass, field

from longwatch.pipeline.kafka_errors import CommitAbortedError
from longwatch.pipeline.sinks.memory import MemoryStore


@dataclass
class AbortingStore(MemoryStore):
    """Aborts the commits whose numbers are given, as a broker does after a rebalance."""

    aborts: set[int] = field(default_factory=set)
    calls: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def commit(self, outputs, positions) -> None:
        self.calls += 1
        if self.calls in self.aborts:
            raise CommitAbortedError("the group is rebalancing")
        super().commit(outputs, positions)
