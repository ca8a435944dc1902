"""A bounded range of a topic in the form that the worker asks for."""

from __future__ import annotations

from collections.abc import Mapping

from longwatch.pipeline.kafka_range import KafkaRange
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources import POLL_MS


class RangeSource:
    """Reads a KafkaRange from start to end."""

    def __init__(self, kafka: KafkaRange) -> None:
        self._kafka = kafka
        self._batches = iter(kafka)
        self.partitions = tuple(kafka.ranges)
        self.exhausted = self._begun = False

    @property
    def ranges(self) -> Mapping[Partition, tuple[int, int]]:
        """First offset and the one behind the last of each partition."""
        return self._kafka.ranges

    def poll(self, timeout_ms: int = POLL_MS) -> list[RecordBatch]:
        """The next batch; empty at the end."""
        self._begun = True
        batch = next(self._batches, None)
        self.exhausted = batch is None
        return [] if batch is None else [batch]

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this offset next; nothing to do where reading begins."""
        if not self._begun and offset == self.start(partition):
            return
        self._kafka.seek(partition, offset)
        if self.exhausted:
            self._batches, self.exhausted = iter(self._kafka), False

    def hold(self) -> None:
        """Nothing: it is read no further than it is polled."""

    def start(self, partition: Partition) -> int:
        """First offset of the range."""
        return self._kafka.ranges[partition][0]

    def readable_from(self, partition: Partition) -> int:
        """First offset of the range."""
        return self.start(partition)

    def at_end(self, partition: Partition) -> bool:
        """Whether the range has been read."""
        return self.exhausted

    def known_ends(self) -> dict[Partition, int]:
        """None: where the input ends shows when it is reached."""
        return {}

    def answers(self) -> bool:
        """Always: what cannot be read is an error."""
        return True

    def close(self) -> None:
        """Close the connection."""
        self._kafka.close()
