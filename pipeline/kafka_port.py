"""The edge of everything that decides about Kafka: what opens clients, looks at topics and ends blocked calls.

The source, the producer and the worker reach Kafka through this alone, so a simulated cluster runs them unchanged.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from longwatch.pipeline.kafka_client import open_consumer, open_producer
from longwatch.pipeline.kafka_orphans import has_orphans
from longwatch.pipeline.kafka_settings import KafkaSettings, TopicDescription
from longwatch.pipeline.kafka_topics import create_missing_topics, describe_topic
from longwatch.pipeline.kafka_watchdog import Watchdog


class Port(Protocol):
    """How a worker reaches a cluster; clients behave as kafka-python's do."""

    def open_consumer(self, settings: KafkaSettings, *, group: bool = False, columns: bool = False) -> Any:
        """A consumer that reads committed records and commits nothing; with `columns` it may give `RecordColumns`."""
        ...

    def open_producer(self, settings: KafkaSettings, transactional_id: str) -> Any:
        """A transactional producer, not yet initialised."""
        ...

    def describe_topic(self, settings: KafkaSettings, topic: str) -> TopicDescription:
        """The topic as the cluster has it."""
        ...

    def create_missing_topics(
        self, settings: KafkaSettings, topics: Mapping[str, int], *, allowed: bool, for_ever: bool = False
    ) -> tuple[str, ...]:
        """Create those of {name: partitions} that are not there, where allowed; `for_ever` without retention."""
        ...

    def has_orphans(self, settings: KafkaSettings, topic: TopicDescription) -> bool:
        """Whether the settled group leaves a partition of the topic without an owner."""
        ...

    def watchdog(self) -> Watchdog:
        """What ends the process when a call blocks for too long."""
        ...


class KafkaPort:
    """The real cluster, through kafka-python."""

    open_consumer = staticmethod(open_consumer)
    open_producer = staticmethod(open_producer)
    describe_topic = staticmethod(describe_topic)
    create_missing_topics = staticmethod(create_missing_topics)
    has_orphans = staticmethod(has_orphans)
    watchdog = Watchdog


KAFKA = KafkaPort()
