"""A commit whose answer does not come: it ends in time, and what happened is read, not guessed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from chaos.proxy import Fault, Proxy
from chaos.proxy_run import proxied_kafka
from longwatch.pipeline.kafka_errors import BrokerUnreachableError, CommitAbortedError, CommitUnknownError
from longwatch.pipeline.kafka_offsets import committed_offsets
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_settings import KafkaSettings, Output
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sources.kafka import KafkaSource
from longwatch.pipeline.steps import Step
from support.kafka_broker import KafkaForTests

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

COMMIT_S = 2.0


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaForTests, Proxy]]:
    with proxied_kafka(tmp_path_factory.mktemp("proxied"), 1) as both:
        yield both


class Case:
    """A member of a group with one partition, and a producer behind the proxy that commits for it."""

    def __init__(self, kafka: KafkaForTests, proxy: Proxy) -> None:
        self.kafka, self.proxy = kafka, proxy
        self.topic, self.alerts = kafka.create_topic(2), kafka.create_topic()
        # The transaction's time-out makes a commit end after two thirds of it.
        self.behind = KafkaSettings(
            (f"127.0.0.1:{proxy.port}",),
            group_id=kafka.name("group"),
            transaction_timeout_ms=int(COMMIT_S * 1500),
            request_timeout_ms=5_000,
        )
        self.direct = KafkaSettings((kafka.bootstrap_servers,), group_id=self.behind.group_id)
        self.partitions: set[Partition] = set()
        self.source = KafkaSource(self.direct, self.topic, self.partitions.update, *[lambda _: None] * 4)
        self.others: list[KafkaSource] = []
        self.faults: dict[str, Callable[[], None]] = {}
        deadline = time.monotonic() + 20
        while len(self.partitions) < 2:
            assert time.monotonic() < deadline
            self.poll()
        self.watchdog = Watchdog()
        self.producer = TransactionalProducer(self.behind, kafka.name("txn"), self.watchdog, self.passed)

    def poll(self) -> None:
        for source in (self.source, *self.others):
            source.poll(50)

    def passed(self, point: Step) -> None:
        self.faults.pop(point, lambda: None)()

    def commit(self, value: bytes, offset: int, number: int = 0) -> None:
        partition = Partition(self.topic, "", number)
        offsets = {partition: (offset, "")}
        self.producer.commit([Output(self.alerts, b"k", value)], offsets, self.source.group_metadata())

    def commit_at_last(self, value: bytes, offset: int) -> None:
        """As a worker does: again, under what the group is by then, until it is taken."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.commit(value, offset)
            except CommitAbortedError:
                assert time.monotonic() < deadline
                self.poll()

    def committed(self) -> dict[int, int]:
        found = committed_offsets(self.direct, describe_topic(self.direct, self.topic), self.watchdog)
        return {number: at.offset for number, at in found.items()}

    def values(self) -> list[bytes]:
        return [record.value for record in self.kafka.read(self.alerts)]

    def settle(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.producer.settle()
            except BrokerUnreachableError:
                assert time.monotonic() < deadline


@contextmanager
def opened(proxied: tuple[KafkaForTests, Proxy]) -> Iterator[Case]:
    case = Case(*proxied)
    try:
        yield case
    finally:
        case.proxy.heal()
        case.producer.close()
        for source in (case.source, *case.others):
            source.close()


@pytest.mark.parametrize(("kind", "happened"), [("half_open", False), ("mute", True)])
def test_a_commit_without_an_answer_is_unknown_in_time_and_the_committed_offset_tells(proxied, kind, happened) -> None:
    with opened(proxied) as case:
        case.commit(b"before", 1)
        case.faults[Step.OFFSETS_SENT] = lambda: case.proxy.apply(Fault(kind))
        began = time.monotonic()
        with pytest.raises(CommitUnknownError):
            case.commit(b"unknown", 2)
        assert time.monotonic() - began < COMMIT_S + 3
        case.proxy.heal()
        case.settle()
        assert case.committed() == {0: 2 if happened else 1}
        case.commit_at_last(b"after", 3)
        assert case.values() == [b"before", *([b"unknown"] if happened else []), b"after"]
        assert case.watchdog.longest["commit"] < COMMIT_S + 3


@pytest.mark.parametrize("point", [Step.BEGUN, Step.FLUSHED])
def test_a_transaction_that_stalls_before_its_commit_is_aborted_in_time(proxied, point) -> None:
    with opened(proxied) as case:
        case.faults[point] = lambda: case.proxy.apply(Fault("mute"))
        began = time.monotonic()
        with pytest.raises(CommitAbortedError):
            case.commit(b"stalled", 1)
        assert time.monotonic() - began < COMMIT_S + 3
        case.proxy.heal()
        case.settle()
        assert case.committed() == {}
        case.commit_at_last(b"after", 1)
        assert case.values() == [b"after"]


@pytest.mark.parametrize("point", [Step.BEGUN, Step.FLUSHED, Step.OFFSETS_SENT])
def test_a_coordinator_that_is_away_for_a_moment_costs_no_transaction(proxied, point) -> None:
    """kafka-python 3.0.12 forgets the request that finds no connection, and would wait for ever."""
    with opened(proxied) as case:
        case.commit(b"before", 1)
        heal = threading.Timer(0.7, case.proxy.heal)

        def away() -> None:
            case.proxy.apply(Fault("refuse"))
            heal.start()

        case.faults[point] = away
        case.commit(b"meanwhile", 2)
        heal.join()
        assert case.committed() == {0: 2}
        assert case.values() == [b"before", b"meanwhile"]


def test_an_aborted_transaction_leaves_no_offset_to_the_next_one(proxied) -> None:
    """kafka-python 3.0.12 keeps the offsets that a broker refused, and would commit them with the next ones."""
    with opened(proxied) as case:
        before = case.source.group_metadata()
        other = KafkaSource(case.direct, case.topic, *[lambda _: None] * 5)
        case.others.append(other)
        deadline = time.monotonic() + 20
        while case.source.group_metadata().generation_id == before.generation_id or not other.assignment():
            assert time.monotonic() < deadline
            case.poll()
        with pytest.raises(CommitAbortedError):
            case.producer.commit([], {Partition(case.topic, "", 1): (70, "")}, before)
        case.commit_at_last(b"fresh", 2)
        other.close()
        assert case.committed() == {0: 2}
