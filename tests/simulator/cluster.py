"""The cluster: topics, one group, the transaction coordinator, and the clock that all of it and the workers share."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from kafka import errors
from kafka.structs import TopicPartition

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.kafka_settings import TopicDescription
from simulator.group import GroupCoordinator
from simulator.log import PartitionLog
from simulator.transactions import TransactionCoordinator

START_MS = 1_800_000_000_000
SLICE_MS = 3_000


class Cluster:
    """Everything that outlives a worker process."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.clock = ManualClock(START_MS)
        self.topic = topic
        self.topics: dict[str, list[PartitionLog]] = {topic: [PartitionLog() for _ in range(partitions)]}
        self.group = GroupCoordinator(self.clock.now_ms, partitions)
        self.transactions = TransactionCoordinator(self.clock.now_ms, self.log)
        self.ticking: dict[int, Callable[[], None]] = {}
        self.in_flight: list[tuple[int, str, int]] = []

    def log(self, tp: TopicPartition) -> PartitionLog:
        """A partition's log."""
        return self.topics[tp.topic][tp.partition]

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic unless it is there."""
        self.topics.setdefault(topic, [PartitionLog() for _ in range(partitions)])

    def describe(self, topic: str) -> TopicDescription:
        """Name, UUID and number of partitions."""
        return TopicDescription(topic, str(topic_id(topic)), len(self.topics[topic]))

    def advance(self, ms: int) -> None:
        """Let time pass: clients heartbeat, sessions, rounds and transactions time out, late requests arrive."""
        end = self.clock.ms + ms
        while self.clock.ms < end:
            self.clock.ms = min(end, self.clock.ms + SLICE_MS)
            for tick in list(self.ticking.values()):
                tick()
            self.group.expire()
            self._arrive()
            self.transactions.expire()

    def commit_later(self, ms: int, transactional_id: str, epoch: int) -> None:
        """A commit request that its producer gave up on, but that is on its way."""
        self.in_flight.append((self.clock.ms + ms, transactional_id, epoch))

    def _arrive(self) -> None:
        for request in [each for each in self.in_flight if each[0] <= self.clock.ms]:
            self.in_flight.remove(request)
            try:
                self.transactions.end(request[1], request[2], "committed")
            except errors.ProducerFencedError:
                continue


def topic_id(topic: str) -> uuid.UUID:
    """A topic's UUID, the same in every run."""
    return uuid.uuid5(uuid.NAMESPACE_URL, topic)
