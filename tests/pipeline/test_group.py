"""A group's batches are given from where the worker asked to read, whatever had been fetched before it asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from longwatch.pipeline.kafka_errors import BrokerUnreachableError
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources.group import GroupSource
from support.demo import LOGS, as_records, batch


@dataclass
class Fetched:
    """One poll's worth of fetched records; the callbacks of a rebalance run before they are handed over."""

    records: RecordBatch
    rebalance: Callable[[], Any] = lambda: None
    sought: list[int] = field(default_factory=list)
    paused: set[Partition] = field(default_factory=set)

    def poll(self, timeout_ms: int) -> list[RecordBatch]:
        self.rebalance()
        return [self.records] if self.records.partition not in self.paused else []

    def assignment(self) -> frozenset[Partition]:
        return frozenset([LOGS])

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)

    def seek(self, _partition, offset: int) -> None:
        self.sought.append(offset)

    def at_end(self, _partition) -> bool:
        raise BrokerUnreachableError("no broker answers")


def test_records_fetched_before_a_seek_are_not_given_after_it():
    """A partition that was lost and came back between two polls begins anew; what was fetched would leave a hole."""
    kafka = Fetched(batch(as_records([b"line"] * 5, first_offset=150)))
    source = GroupSource(kafka, "earliest")
    kafka.rebalance = lambda: source.seek(LOGS, 100)
    assert source.poll() == []
    assert kafka.sought == [100]
    kafka.rebalance = lambda: None
    assert source.poll() == [kafka.records]


def test_a_partition_is_not_at_its_end_while_no_broker_says_so():
    assert not GroupSource(Fetched(batch(as_records([b"line"]))), "earliest").at_end(LOGS)


def test_what_is_held_gives_nothing_until_it_is_sought():
    kafka = Fetched(batch(as_records([b"line"])))
    source = GroupSource(kafka, "earliest")
    source.hold()
    assert source.poll() == []
    source.seek(LOGS, 0)
    assert kafka.paused == set()
    assert source.poll() == [kafka.records]
