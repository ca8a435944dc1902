"""One real Apache Kafka for the whole session, and the few calls tests make to it beside the code under test.

`kafka` is a session fixture: import it in a conftest (`from support.kafka_broker import kafka`) to use it there.
"""

import importlib.util
import itertools
import os
import sys
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

with warnings.catch_warnings():
    # kafka-python 3.0.12 reads its schemas, at import, through a call that Python 3.11 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import NewTopic
    from kafka.consumer.fetcher import ConsumerRecord

Message = tuple[bytes | None, bytes | None, int]


def broker_module() -> ModuleType:
    """`ops/kafka/broker.py`, which is a script and not part of the package."""
    if "longwatch_ops_broker" not in sys.modules:
        path = Path(__file__).resolve().parents[2] / "ops" / "kafka" / "broker.py"
        spec = importlib.util.spec_from_file_location("longwatch_ops_broker", path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules["longwatch_ops_broker"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["longwatch_ops_broker"])
    return sys.modules["longwatch_ops_broker"]


@dataclass
class KafkaForTests:
    """A running broker (`broker`: start, stop, kill9, restart) and short-lived clients of it."""

    broker: object
    bootstrap_servers: str
    _names: Iterator[int] = field(default_factory=itertools.count)
    _run: str = field(default_factory=lambda: uuid.uuid4().hex[:6])

    def name(self, prefix: str = "t") -> str:
        """A name no other test has: for a topic, a group, a transactional id."""
        return f"{prefix}-{self._run}-{next(self._names)}"

    def create_topic(self, partitions: int = 1, name: str | None = None, **configs: str) -> str:
        """Create a topic and wait until every partition has a leader; underscores in `configs` stand for dots."""
        topic = name or self.name("topic")
        settings = {key.replace("_", "."): value for key, value in configs.items()}
        with self.admin() as admin:
            new = NewTopic(topic, num_partitions=partitions, replication_factor=1, topic_configs=settings)
            admin.create_topics([new], wait_for_metadata=True)
        return topic

    def delete_topic(self, topic: str) -> None:
        """Delete a topic and wait until it is gone."""
        with self.admin() as admin:
            admin.delete_topics([topic])
            deadline = time.monotonic() + 20
            while topic in admin.list_topics():
                assert time.monotonic() < deadline, f"{topic} is still there"

    def admin(self) -> KafkaAdminClient:
        """An admin client, to be closed by the caller (`with`)."""
        return KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)

    def producer(self, **options: object) -> KafkaProducer:
        """A producer that waits for every replica, to be closed by the caller (`with`)."""
        return KafkaProducer(bootstrap_servers=self.bootstrap_servers, acks="all", **options)

    def produce(self, topic: str, messages: Iterable[Message], partition: int = 0, **options: object) -> int:
        """Write `(key, value, timestamp_ms)` in order to one partition; returns the offset of the last one."""
        with self.producer(**options) as producer:
            sent = [producer.send(topic, value, key, [], partition, at) for key, value, at in messages]
            return max((future.get(30).offset for future in sent), default=-1)

    def read(self, topic: str, isolation_level: str = "read_committed") -> list[ConsumerRecord]:
        """Every record up to the end at the time of the call, in the order of (partition, offset)."""
        options = {"isolation_level": isolation_level, "enable_auto_commit": False, "auto_offset_reset": "earliest"}
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap_servers, group_id=None, **options)
        try:
            partitions = _partitions(consumer, topic)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            return _read_to(consumer, consumer.end_offsets(partitions))
        finally:
            consumer.close()


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    """All of the topic's; a broker that has just started may not know them yet."""
    deadline = time.monotonic() + 30
    while not (numbers := consumer.partitions_for_topic(topic)):
        assert time.monotonic() < deadline, f"no partitions of {topic} are known"
        consumer.topics()  # asks for the metadata again
    return [TopicPartition(topic, each) for each in sorted(numbers)]


def _read_to(consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> list[ConsumerRecord]:
    records: list[ConsumerRecord] = []
    deadline = time.monotonic() + 60
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        assert time.monotonic() < deadline, f"the end {ends} was not reached"
        records.extend(itertools.chain.from_iterable(consumer.poll(timeout_ms=200).values()))
    return sorted(records, key=lambda record: (record.partition, record.offset))


@contextmanager
def running_broker(folder: Path) -> Iterator[KafkaForTests]:
    """A broker with its data in this folder; stopped at the end."""
    ops = broker_module()
    broker = ops.LocalBroker(folder, ops.fetch())
    try:
        broker.start()
        yield KafkaForTests(broker, broker.bootstrap_servers)
    finally:
        broker.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaForTests]:
    """A broker of this session's own: free ports, own data folder, gone when the session ends."""
    ops = broker_module()
    missing = ops.missing_tools()
    if "java" in missing and os.environ.get("CI") != "true":
        pytest.skip("no java: the broker tests need Java 17 or newer (Debian: openjdk-17-jre-headless)")
    with running_broker(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka
