"""A consumer group's partitions in the form that the worker asks for."""

from __future__ import annotations

from longwatch.pipeline.errors import BrokerError
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources import POLL_MS
from longwatch.pipeline.sources.kafka import KafkaSource


class GroupSource:
    """An endless source; which partitions are read is told through the KafkaSource's callbacks."""

    exhausted = False

    def __init__(self, kafka: KafkaSource, start: str) -> None:
        self._kafka = kafka
        self._start = start
        self._sought: set[Partition] = set()
        self._held: set[Partition] = set()

    def poll(self, timeout_ms: int = POLL_MS) -> list[RecordBatch]:
        """Next records; empty after at most `timeout_ms` and 200 ms without any."""
        self._sought.clear()
        batches = self._kafka.poll(timeout_ms)
        # A callback that seeks, as one for a partition that came back does, runs when these had been fetched already.
        return [batch for batch in batches if batch.partition not in self._sought]

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this offset next."""
        self._sought.add(partition)
        self._kafka.seek(partition, offset)
        if partition in self._held:
            self._held.discard(partition)
            self._kafka.resume(partition)

    def hold(self) -> None:
        """Fetch nothing until it is sought; polls go on, and with them the membership."""
        for partition in self._kafka.assignment():
            self._held.add(partition)
            self._kafka.pause(partition)

    def start(self, partition: Partition) -> int:
        """Where a partition without a committed offset begins."""
        return self._kafka.log_start(partition) if self._start == "earliest" else self._kafka.end_offset(partition)

    def readable_from(self, partition: Partition) -> int:
        """First offset that retention has left."""
        return self._kafka.log_start(partition)

    def at_end(self, partition: Partition) -> bool:
        """Whether everything committed to the partition so far has been read; False while no broker says so."""
        try:
            return self._kafka.at_end(partition)
        except BrokerError as error:
            if error.retriable:
                return False
            raise

    def known_ends(self) -> dict[Partition, int]:
        """Ends of the partitions as the last fetch of each told them."""
        return self._kafka.known_ends()

    def answers(self) -> bool:
        """Whether the group's coordinator does."""
        return self._kafka.answers()

    def close(self) -> None:
        """Leave the group."""
        self._kafka.close()
