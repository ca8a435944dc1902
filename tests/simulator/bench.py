"""One place to run the same script on: the simulated cluster, or the real broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from longwatch.pipeline.kafka_port import KAFKA, Port
from longwatch.pipeline.kafka_settings import Committed, KafkaSettings
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sources.kafka import KafkaSource
from simulator.cluster import Cluster
from simulator.process import Fate, SimulatedPort
from support.kafka_broker import KafkaForTests


class Bench(Protocol):
    """A topic of two partitions, and how its clients are opened."""

    topic: str
    settings: KafkaSettings

    def port(self) -> Port: ...

    def produce(self, partition: int, value: bytes) -> None: ...

    def retain(self, partition: int, start: int) -> None: ...

    def patience(self) -> Callable[[], bool]:
        """Asked between polls whether to go on waiting; lets a little time pass."""
        ...


class SimulatedBench:
    """In memory; waiting is virtual."""

    def __init__(self) -> None:
        self.topic = "logs"
        self.settings = KafkaSettings(("127.0.0.1:1",), group_id="group")
        self._cluster = Cluster(self.topic, 2)

    def port(self) -> Port:
        return SimulatedPort(self._cluster, Fate())

    def produce(self, partition: int, value: bytes) -> None:
        self._cluster.topics[self.topic][partition].append(self._cluster.clock.ms, b"k", value)

    def retain(self, partition: int, start: int) -> None:
        self._cluster.topics[self.topic][partition].start = start

    def patience(self) -> Callable[[], bool]:
        rounds = iter(range(200))

        def more() -> bool:
            self._cluster.advance(50)
            return next(rounds, None) is not None

        return more


class KafkaBench:
    """Apache Kafka itself."""

    def __init__(self, kafka: KafkaForTests) -> None:
        self.topic = kafka.create_topic(2)
        group = kafka.name("group")
        self.settings = KafkaSettings(
            (kafka.bootstrap_servers,),
            group_id=group,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=200,
            call_deadline_seconds=30,
        )
        self._kafka = kafka

    def port(self) -> Port:
        return KAFKA

    def produce(self, partition: int, value: bytes) -> None:
        self._kafka.produce(self.topic, [(b"k", value, 1_000)], partition)

    def retain(self, partition: int, start: int) -> None:
        from kafka import TopicPartition

        with self._kafka.admin() as admin:
            admin.delete_records({TopicPartition(self.topic, partition): start})

    def patience(self) -> Callable[[], bool]:
        deadline = time.monotonic() + 15
        return lambda: time.monotonic() < deadline


@dataclass
class Member:
    """A source and everything it said."""

    bench: Bench
    settings: KafkaSettings
    assigned: dict[int, Committed | None] = field(default_factory=dict)
    revoked: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    truncated: list[tuple[int, int, int]] = field(default_factory=list)
    records: list[tuple[int, int, bytes]] = field(default_factory=list)
    on_revoked: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.source = KafkaSource(
            self.settings,
            self.bench.topic,
            lambda given: self.assigned.update({each.partition: at for each, at in given.items()}),
            self._revoke,
            lambda gone: self.lost.extend(each.partition for each in gone),
            lambda gap: self.truncated.append((gap.partition.partition, gap.wanted, gap.resume_at)),
            lambda _gap: None,
            port=self.bench.port(),
        )

    def _revoke(self, gone: tuple[Partition, ...]) -> None:
        self.revoked.extend(each.partition for each in gone)
        self.on_revoked()

    def poll(self) -> None:
        for batch in self.source.poll(50):
            rows = batch.frame.select("offset", "value").iter_rows()
            self.records.extend((batch.partition.partition, *row) for row in rows)

    def reach(self, condition: Callable[[], Any], *others: Member) -> bool:
        """Poll, the others too, until the condition holds; False when it did not in time."""
        more = self.bench.patience()
        while not condition():
            if not more():
                return False
            for member in (self, *others):
                member.poll()
        return True

    def partition(self, number: int) -> Partition:
        return next(each for each in self.source.assignment() if each.partition == number)
