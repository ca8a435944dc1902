"""What the cluster says about itself, as plain values; nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longwatch.pipeline.kafka_client import ConfigResource, TopicPartition, kafka_errors, opened_admin
from longwatch.pipeline.kafka_settings import KafkaSettings

_NEWEST = -3  # the protocol's mark for the record with the highest timestamp
_UNKNOWN = kafka_errors.UnknownTopicOrPartitionError


@dataclass(frozen=True)
class Cluster:
    """How many brokers there are, and the highest version of each request, by its number in the protocol."""

    brokers: int
    requests: Mapping[int, int]


@dataclass(frozen=True)
class Topic:
    """A topic: `operations` and `settings` are None where the broker would not say."""

    name: str
    exists: bool
    partitions: int = 0
    replicas: int = 0
    in_sync: int = 0
    operations: frozenset[str] | None = None
    settings: Mapping[str, str] | None = None
    refused: str = ""

    def number(self, setting: str) -> int | None:
        """A setting that is a number; None where it is not known."""
        value = (self.settings or {}).get(setting)
        return None if value is None else int(value)


@dataclass(frozen=True)
class Group:
    """The consumer group: its state, how many workers it has, and what this user may do with it."""

    state: str
    members: int
    operations: frozenset[str] | None
    refused: str = ""


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that holds back the readers of a partition since the offset `start`."""

    topic: str
    partition: int
    start: int
    producer_id: int
    last_written_ms: int


def cluster(client: KafkaSettings) -> Cluster:
    """Brokers and their requests."""
    with opened_admin(client) as admin:
        brokers = admin.describe_cluster()["brokers"]
        # Not api_versions(): kafka-python 3.0.12 raises on requests that it does not know, as brokers since 4.0 have.
        versions = admin._manager.broker_version_data.api_versions
    return Cluster(len(brokers), {int(key): int(span[1]) for key, span in versions.items()})


def topics(client: KafkaSettings, names: Sequence[str]) -> dict[str, Topic]:
    """Topics, with their settings and what this user may do with them."""
    with opened_admin(client) as admin:
        found = {str(each["name"]): each for each in admin.describe_topics(list(names))}
        asked = [ConfigResource("topic", name) for name in names]
        settings = admin.describe_configs(asked, config_filter="all").get("topic", {})
    return {name: _topic(name, found[name], settings.get(name, {})) for name in names}


def _topic(name: str, found: Mapping[str, Any], settings: Mapping[str, Any]) -> Topic:
    error = kafka_errors.for_code(found["error_code"])
    if error is not kafka_errors.NoError:
        refused = "" if issubclass(error, _UNKNOWN) else error.__name__
        return Topic(name, exists=not issubclass(error, _UNKNOWN), refused=refused)
    values = {key: str(entry["value"]) for key, entry in settings.items() if entry["value"] is not None}
    partitions = found["partitions"]
    return Topic(
        name,
        True,
        len(partitions),
        min(len(each["replica_nodes"]) for each in partitions),
        min(len(each["isr_nodes"]) for each in partitions),
        _operations(found),
        values or None,
    )


def group(client: KafkaSettings) -> Group:
    """The consumer group of the settings."""
    name = str(client.group_id)
    with opened_admin(client) as admin:
        try:
            found = admin.describe_groups([name])[name]
        except kafka_errors.GroupAuthorizationFailedError as error:
            return Group("", 0, None, type(error).__name__)
    state = str(found["group_state"])
    # A group that never was is Dead to old brokers, and an error to new ones.
    refused = "" if found["error"] is None or state == "Dead" else str(found["error"])
    return Group(state, len(found["members"]), _operations(found), refused)


def _operations(found: Mapping[str, Any]) -> frozenset[str] | None:
    return frozenset(found.get("authorized_operations") or ()) or None


def newest_records(client: KafkaSettings, partitions: Mapping[str, int]) -> dict[str, int]:
    """The highest timestamp in each topic of {name: partitions}; topics without a record are left out."""
    asked = [TopicPartition(name, number) for name, count in partitions.items() for number in range(count)]
    with opened_admin(client) as admin:
        found = admin.list_partition_offsets(dict.fromkeys(asked, _NEWEST))
    highest: dict[str, int] = {}
    for tp, at in found.items():
        if at.timestamp >= 0:
            highest[tp.topic] = max(highest.get(tp.topic, 0), int(at.timestamp))
    return highest


def open_transactions(client: KafkaSettings, held_back: Sequence[tuple[str, int]]) -> list[OpenTransaction]:
    """The transactions open in these partitions."""
    asked = [TopicPartition(*where) for where in held_back]
    with opened_admin(client) as admin:
        found = admin.describe_producers(asked)
    return [
        OpenTransaction(
            tp.topic, tp.partition, each.current_transaction_start_offset, each.producer_id, each.last_timestamp
        )
        for tp, state in found.items()
        for each in state.active_producers
        if each.current_transaction_start_offset >= 0
    ]
