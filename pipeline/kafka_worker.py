"""A worker on Kafka: one group member, one transactional producer, and the loop between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import structlog

from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config, KafkaSink
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.kafka_changes import read_changes
from longwatch.pipeline.kafka_marks import KafkaMarkLog
from longwatch.pipeline.kafka_port import KAFKA, Port
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_settings import Committed, KafkaSettings, Truncated, Unreadable
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.outputs import Kind, unreadable
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Change
from longwatch.pipeline.sinks.kafka import KafkaStore
from longwatch.pipeline.sources.group import GroupSource
from longwatch.pipeline.sources.kafka import KafkaSource
from longwatch.pipeline.stages import Timed, untimed
from longwatch.pipeline.steering import SettingSource, Steering
from longwatch.pipeline.steps import Observer, unobserved
from longwatch.pipeline.watch import UNWATCHED, Watch
from longwatch.pipeline.worker import Worker, WorkerSettings

log = structlog.get_logger("longwatch.kafka")

_NAMED = {"client_id", "session_timeout_ms", "heartbeat_interval_ms", "max_poll_interval_ms", "request_timeout_ms"}
"""Client options of the YAML that are settings of their own here."""


def kafka_settings(config: Config, instance: str | None = None) -> KafkaSettings:
    """Client settings of a configuration; secrets are resolved here."""
    source, sink = config.source.kafka, config.sink.kafka
    if source is None:
        raise StateError("the configuration has no source.kafka", "`longwatch init --source kafka` writes one")
    options = source.client.consumer_options()
    named = {name: options.pop(name) for name in _NAMED & options.keys()}
    if sink is not None:
        named["transaction_timeout_ms"] = sink.transaction_timeout.ms
    return KafkaSettings(
        bootstrap_servers=tuple(source.bootstrap_servers),
        client=options,
        group_id=config.group_id,
        instance_id=instance,
        poll_records=source.poll_records,
        columns=source.columns,
        max_batch_bytes=source.max_batch.bytes,
        start=source.start,
        **named,
    )


@dataclass
class _Members:
    """Hands the source's callbacks to the worker, which is made after the source."""

    on_truncated: str
    worker: Worker | None = None

    def assigned(self, partitions: Mapping[Partition, Committed | None]) -> None:
        if self.worker is not None:
            self.worker.assigned(partitions)

    def revoked(self, partitions: tuple[Partition, ...]) -> None:
        if self.worker is not None:
            self.worker.revoked(partitions)

    def lost(self, partitions: tuple[Partition, ...]) -> None:
        log.warning("partitions_lost", partitions=[str(partition) for partition in partitions])
        if self.worker is not None:
            self.worker.lost(partitions)

    def truncated(self, gap: Truncated) -> None:
        message = f"{gap.partition}@{gap.wanted}: no longer in the log, which holds {gap.log_start} to {gap.log_end}"
        if self.on_truncated == "stop":
            raise StateError(message, "raise the topic's retention; `source.kafka.on_truncated: continue` goes on")
        log.warning("records_lost_to_retention", partition=str(gap.partition), wanted=gap.wanted, next=gap.resume_at)
        if self.worker is not None:
            self.worker.truncated(gap.partition, gap.resume_at)

    def unreadable(self, gap: Unreadable) -> None:
        """A batch that the client cannot read, a broken checksum or codec, is one dead letter without its bytes."""
        if self.worker is not None:
            letter = unreadable(gap.partition, gap.first, gap.next_offset, gap.reason)
            self.worker.dead_letter(letter, gap.next_offset)
        log.error(
            "unreadable_records", partition=str(gap.partition), first=gap.first, next=gap.next_offset, why=gap.reason
        )


@contextmanager
def open_kafka_worker(
    config: Config,
    engine: Engine,
    clock: Clock,
    settings: WorkerSettings,
    instance: str | None,
    observe: Observer = unobserved,
    port: Port = KAFKA,
    watch: Watch = UNWATCHED,
    timed: Timed = untimed,
    settings_source: SettingSource | None = None,
) -> Iterator[Worker]:
    """A worker that joins the pipeline's group; `instance` names it across restarts, and its transactions.

    Raises:
        BrokerError: no broker, or topics missing. FencedError: another worker of that name is alive.
    """
    source_config, sink = config.source.kafka, config.sink.kafka
    if source_config is None or sink is None:
        raise StateError("a Kafka worker needs source.kafka and sink.kafka", "`longwatch validate` shows what is set")
    client, watchdog = kafka_settings(config, instance), port.watchdog()
    topics = output_topics(config, sink)
    copies = {copy.topic: copy.format for copy in sink.copies}
    made = [topic for kind, topic in topics.items() if not kind.is_record]
    port.create_missing_topics(client, dict.fromkeys([*made, *copies], 1), allowed=sink.create_topics)
    members = _Members(source_config.on_truncated)
    with ExitStack() as opened:
        opened.callback(_log_longest, watchdog)
        source = KafkaSource(
            client,
            source_config.topic,
            members.assigned,
            members.revoked,
            members.lost,
            members.truncated,
            members.unreadable,
            watchdog,
            port,
        )
        opened.callback(source.close)
        marks = None
        if config.feedback is not None:
            kept = dict.fromkeys((config.feedback.topic, config.feedback.effects), 1)
            port.create_missing_topics(client, kept, allowed=sink.create_topics, for_ever=True)
            marks = KafkaMarkLog(client, config.feedback.topic, clock.monotonic, watchdog, engine.marks, port)
            opened.callback(marks.close)
        recorded: Callable[[], list[Change]] = list
        if config.reload is not None:
            told = config.reload.topic
            port.create_missing_topics(client, {told: 1}, allowed=sink.create_topics, for_ever=True)
            recorded = partial(read_changes, client, told, watchdog)
        steering = Steering(marks, settings_source, recorded)
        producer = TransactionalProducer(client, transactional_id(config, instance), watchdog, observe, port)
        opened.callback(producer.close)
        store = KafkaStore(producer, topics, source.committed, source.group_metadata, copies)
        group = GroupSource(source, source_config.start)
        members.worker = Worker(
            group, engine, store, clock, settings, observe=observe, watch=watch, steering=steering, timed=timed
        )
        yield members.worker


def output_topics(config: Config, sink: KafkaSink) -> dict[Kind, str]:
    """Where each kind of output goes."""
    topics = {Kind.ALERT: sink.alerts, Kind.DEAD_LETTER: sink.dead_letters, Kind.LATE: sink.late}
    if config.feedback is not None:
        topics |= {Kind.SUPPRESSED: config.feedback.suppressed, Kind.EFFECT: config.feedback.effects}
    if config.reload is not None:
        topics[Kind.CHANGE] = config.reload.topic
    return topics


def _log_longest(watchdog: Watchdog) -> None:
    seconds = {kind.replace(" ", "_"): round(longest, 3) for kind, longest in watchdog.longest.items()}
    log.info("longest_client_calls", **seconds)


def transactional_id(config: Config, instance: str | None) -> str:
    """Its own for each worker, as two that share one fence each other; an unnamed worker gets a new one each start."""
    return f"longwatch-{config.pipeline}-{instance or uuid4().hex}"
