"""A relay on Kafka: a member of its own group, and one transaction for offsets and dead letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import structlog

from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config
from longwatch.pipeline.config.base import Problem
from longwatch.pipeline.config.relay import Relay as RelayConfig
from longwatch.pipeline.config.secrets import UnreadableSecretError
from longwatch.pipeline.errors import BrokerError, StateError
from longwatch.pipeline.kafka_errors import CommitAbortedError, CommitUnknownError
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_settings import KafkaSettings, Truncated, Unreadable
from longwatch.pipeline.kafka_topics import create_missing_topics
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.kafka_worker import kafka_settings
from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.backoff import Backoff
from longwatch.pipeline.relay.deliverer import Deliverer
from longwatch.pipeline.relay.guard import Guard
from longwatch.pipeline.relay.lane import Lane
from longwatch.pipeline.relay.ledger import Ledger, Settled
from longwatch.pipeline.relay.letters import append_to, as_outputs
from longwatch.pipeline.relay.relay import Counts, Relay, RelaySettings
from longwatch.pipeline.relay.targets import Send, open_target
from longwatch.pipeline.relay.watch import UNWATCHED_RELAY, RelayWatch
from longwatch.pipeline.sources.group import GroupSource
from longwatch.pipeline.sources.kafka import KafkaSource

log = structlog.get_logger("longwatch.relay")

MOST_POLLED = 100


@dataclass
class OpenRelay:
    """A relay, and whether it has read all there is."""

    relay: Relay
    at_end: Callable[[], bool]


@dataclass
class _Listener:
    """Hands the source's callbacks to the relay, which is made after the source."""

    relay: Relay | None = None

    def assigned(self, partitions: object) -> None:
        log.info("assigned", partitions=len(partitions))  # type: ignore[arg-type]
        if self.relay is not None:
            self.relay.assigned()

    def revoked(self, partitions: tuple[Partition, ...]) -> None:
        if self.relay is not None:
            self.relay.revoked(partitions)

    def lost(self, partitions: tuple[Partition, ...]) -> None:
        if self.relay is not None:
            self.relay.lost(partitions)

    def truncated(self, gap: Truncated) -> None:
        log.error("alerts_lost_to_retention", partition=str(gap.partition), wanted=gap.wanted, next=gap.resume_at)

    def unreadable(self, gap: Unreadable) -> None:
        log.error("unreadable_records", partition=str(gap.partition), first=gap.first, why=gap.reason)
        if self.relay is not None:
            self.relay.unreadable(gap.partition, gap.first, gap.next_offset, gap.reason)


def relay_settings(config: Config, instance: str | None = None) -> KafkaSettings:
    """Client settings of the relay: a group of its own, few records at a time."""
    relay = _relay_of(config)
    settings = kafka_settings(config, instance)
    group = relay.group_id or f"{config.pipeline}.relay"
    few = min(MOST_POLLED, relay.pending.messages, settings.poll_records)
    return replace(settings, group_id=group, start=relay.start, poll_records=few)


def open_sends(relay: RelayConfig, guard: Guard, clock: Clock) -> list[Send]:
    """A function for each target; UnreadableSecretError names the place in the YAML."""
    sends = []
    for place, target in enumerate(relay.targets):
        try:
            sends.append(open_target(target, relay.allow, guard, clock))
        except UnreadableSecretError as error:
            at = ("relay", "targets", place, *error.problem.at)
            raise UnreadableSecretError(Problem(error.problem.message, error.problem.hint, at)) from None
    return sends


@contextmanager
def open_relay(
    config: Config, sends: list[Send], clock: Clock, instance: str | None, watch: RelayWatch = UNWATCHED_RELAY
) -> Iterator[OpenRelay]:
    """A relay that joins its group; `instance` names it across restarts, and its transactions."""
    relay, sink = _relay_of(config), config.sink.kafka
    if sink is None:
        raise StateError("the configuration has no sink.kafka", "the relay reads the topic that it writes")
    client, watchdog = relay_settings(config, instance), Watchdog()
    topics = [sink.alerts, *([relay.dead_letters.topic] if relay.dead_letters.topic else [])]
    create_missing_topics(client, dict.fromkeys(topics, 1), allowed=sink.create_topics)
    listener, ledger = _Listener(), Ledger()
    with ExitStack() as opened:
        source = KafkaSource(
            client,
            sink.alerts,
            listener.assigned,
            listener.revoked,
            listener.lost,
            listener.truncated,
            listener.unreadable,
            watchdog,
        )
        opened.callback(source.close)
        name = f"longwatch-relay-{config.pipeline}-{instance or uuid4().hex}"
        producer = TransactionalProducer(client, name, watchdog)
        opened.callback(producer.close)

        def commit(settled: Settled) -> None:
            _commit(relay, producer, source, settled)

        targets = list(_deliverers(relay, sends, ledger, clock, watch))
        listener.relay = Relay(source, ledger, targets, commit, clock, _loop_settings(relay), watch)
        group = GroupSource(source, relay.start)
        yield OpenRelay(
            listener.relay, lambda: bool(source.assignment()) and all(map(group.at_end, source.assignment()))
        )


def _commit(relay: RelayConfig, producer: TransactionalProducer, source: KafkaSource, settled: Settled) -> None:
    outputs = []
    if relay.dead_letters.topic is not None:
        outputs = as_outputs(relay.dead_letters.topic, settled.letters)
    elif relay.dead_letters.file is not None and settled.letters:
        append_to(relay.dead_letters.file, settled.letters)
    offsets = {partition: (offset, "") for partition, offset in settled.offsets.items()}
    try:
        producer.commit(outputs, offsets, source.group_metadata())
    except CommitUnknownError as error:
        _decide(producer, source, offsets, error)


def _decide(
    producer: TransactionalProducer,
    source: KafkaSource,
    offsets: Mapping[Partition, tuple[int, str]],
    unknown: CommitUnknownError,
) -> None:
    """Return if the commit happened, as the offsets tell; while no broker is there to tell, a new process must ask."""
    try:
        producer.settle()
        committed = {partition: source.committed(partition) for partition in offsets}
    except BrokerError as error:
        raise unknown from error
    for partition, (offset, _) in offsets.items():
        found = committed[partition]
        if found is None or found.offset < offset:
            raise CommitAbortedError(f"{unknown.message}; it did not happen", "it is tried again") from unknown


def _deliverers(
    relay: RelayConfig, sends: list[Send], ledger: Ledger, clock: Clock, watch: RelayWatch
) -> Iterator[tuple[Deliverer, frozenset[str]]]:
    backoff = Backoff(relay.retry.first.seconds, relay.retry.longest.seconds)
    for target, send in zip(relay.targets, sends, strict=True):
        lane = Lane(backoff, relay.retry.give_up_after.seconds)
        deliverer = Deliverer(target.name, lane, send, clock, ledger.done, target.in_flight, watch)
        yield deliverer, frozenset(target.lifecycle)


def _loop_settings(relay: RelayConfig) -> RelaySettings:
    return RelaySettings(
        relay.pending.messages, relay.pending.bytes.bytes, relay.commit_interval.seconds, relay.drain.seconds
    )


def _relay_of(config: Config) -> RelayConfig:
    if config.relay is None:
        raise StateError("the configuration has no `relay` section", "name the targets there; see configs/pipeline")
    return config.relay


__all__ = ["Counts", "OpenRelay", "open_relay", "open_sends", "relay_settings"]
