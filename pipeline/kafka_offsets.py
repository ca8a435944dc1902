"""Where a group and its topics stand, asked without joining the group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longwatch.pipeline.kafka_client import TopicPartition, open_consumer, opened_admin, translated
from longwatch.pipeline.kafka_settings import Committed, KafkaSettings, TopicDescription
from longwatch.pipeline.kafka_watchdog import Watchdog

_EARLIEST, _LATEST = -2, -1  # the protocol's marks for a log's two ends


@dataclass(frozen=True)
class Bounds:
    """A log holds the offsets [start, end); the transactions of those below `stable` are decided."""

    start: int
    end: int
    stable: int


def committed_offsets(settings: KafkaSettings, topic: TopicDescription, watchdog: Watchdog) -> dict[int, Committed]:
    """What the group has committed for each partition; waits for open transactions, joins nothing."""
    consumer = open_consumer(settings, group=True)
    try:
        with (
            watchdog.guard(f"committed offsets of {settings.group_id}", settings.call_deadline_seconds),
            translated(f"asking what group {settings.group_id} has committed", settings),
        ):
            asked = [(number, _committed(consumer, settings, topic, number)) for number in range(topic.partitions)]
    finally:
        consumer.close(autocommit=False)
    return {number: Committed(int(at.offset), at.metadata or "") for number, at in asked if at is not None}


def _committed(consumer: Any, settings: KafkaSettings, topic: TopicDescription, number: int) -> Any:
    timeout_ms = settings.answer_ms / topic.partitions
    return consumer.committed(TopicPartition(topic.name, number), metadata=True, timeout_ms=timeout_ms)


def log_bounds(
    settings: KafkaSettings, topics: Sequence[TopicDescription], watchdog: Watchdog
) -> dict[str, dict[int, Bounds]]:
    """The bounds of every partition of the topics, as the broker has them now."""
    asked = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
    with watchdog.guard("log bounds", settings.call_deadline_seconds), opened_admin(settings) as admin:
        starts, ends = (admin.list_partition_offsets(dict.fromkeys(asked, mark)) for mark in (_EARLIEST, _LATEST))
        stable = admin.list_partition_offsets(dict.fromkeys(asked, _LATEST), isolation_level="READ_COMMITTED")
    found: dict[str, dict[int, Bounds]] = {topic.name: {} for topic in topics}
    for tp in asked:
        found[tp.topic][tp.partition] = Bounds(*(int(each[tp].offset) for each in (starts, ends, stable)))
    return found
