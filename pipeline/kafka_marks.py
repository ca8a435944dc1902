"""Marks in a topic of one partition: read beside the input without a group, written one transaction each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog

from longwatch.pipeline.errors import BrokerError, StateError
from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.kafka_client import TopicPartition, translate, translated
from longwatch.pipeline.kafka_errors import BrokerUnreachableError
from longwatch.pipeline.kafka_offsets import log_bounds
from longwatch.pipeline.kafka_port import KAFKA, Port
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_settings import KafkaSettings, Output
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.verify.topics import read_committed

log = structlog.get_logger("longwatch.feedback")

LOOK_S = 0.1
POLL_MS = 200


class KafkaMarkLog:
    """Follows the topic of marks; a broker that is away only means that marks come later.

    Raises StateError where the topic has more than one partition, or has lost its beginning.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        now: Callable[[], float],
        watchdog: Watchdog,
        book: MarkBook,
        port: Port = KAFKA,
    ) -> None:
        self._settings, self._now, self._watchdog = settings, now, watchdog
        self._tp = TopicPartition(topic, 0)
        self._looked = now() - LOOK_S
        self._read = 0
        self._troubled = False
        self.book = book
        described = port.describe_topic(settings, topic)
        if described.partitions != 1:
            raise StateError(
                f"topic {topic} has {described.partitions} partitions: marks need one, for their order",
                "name a topic of one partition in `feedback.topic`",
            )
        self._consumer = port.open_consumer(settings)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def look(self) -> None:
        """Take what has been fetched; asks no more than ten times a second."""
        now = self._now()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        try:
            self._poll(0)
            self._troubled = False
        except BrokerError as error:
            if not self._troubled:
                log.warning("marks_unreadable", topic=self._tp.topic, why=error.message, effect="no new mark is heeded")
            self._troubled = True

    def reach(self, upto: int) -> None:
        """Read up to there; BrokerUnreachableError where it does not come in time."""
        deadline = self._now() + self._settings.answer_ms / 1000
        while self._read < upto:
            if self._now() > deadline:
                raise BrokerUnreachableError(f"no mark of {self._tp.topic}@{self._read} came", "look at the broker")
            self._poll(POLL_MS)

    def close(self) -> None:
        """Close the connection."""
        with self._guard("close"):
            self._consumer.close(autocommit=False)

    def _begin(self) -> None:
        with self._guard("beginning"), translated(f"looking at {self._tp.topic}", self._settings):
            self._consumer.assign([self._tp])
            start = int(self._consumer.beginning_offsets([self._tp])[self._tp])
            self._consumer.seek(self._tp, 0)
            end = int(self._consumer.end_offsets([self._tp])[self._tp])
        if start > 0:
            raise cut_log(self._tp.topic, start)
        self._read_to_end(end)

    def _read_to_end(self, end: int) -> None:
        """Marks made while no worker ran are in force from its first record on, if they come in time."""
        deadline = self._now() + self._settings.answer_ms / 1000
        while self._position() < end and self._now() < deadline:
            self._poll(POLL_MS)

    def _position(self) -> int:
        with self._guard("position"), translated(f"reading {self._tp.topic}", self._settings):
            return int(self._consumer.position(self._tp))

    def _poll(self, timeout_ms: int) -> None:
        for record in self._polled(timeout_ms):
            self._read = record.offset + 1
            self.book.add(record.offset, record.value, self._read)

    def _polled(self, timeout_ms: int) -> list[Any]:
        try:
            with self._guard("poll"):
                found: list[Any] = self._consumer.poll(timeout_ms=timeout_ms).get(self._tp, [])
                return found
        except Exception as error:
            failure = translate(error, f"reading {self._tp.topic}", self._settings)
            if isinstance(failure, BrokerError):
                raise failure from error
            raise BrokerUnreachableError(failure.message, "look at the topic of marks") from error

    def _guard(self, what: str) -> Any:
        return self._watchdog.guard(f"{what} of {self._tp.topic}", self._settings.call_deadline_seconds)


def cut_log(topic: str, start: int) -> StateError:
    """The topic no longer holds all marks."""
    return StateError(
        f"{topic}[0] begins at {start}: marks before that are lost",
        "name a new topic in `feedback.topic`, with retention.ms=-1",
    )


def append_entry(settings: KafkaSettings, topic: str, key: str, value: bytes) -> None:
    """Add a mark or a withdrawal, in a transaction under an id of its own."""
    producer = TransactionalProducer(settings, f"longwatch-marks-{uuid4().hex}")
    try:
        producer.commit([Output(topic, key.encode(), value, (), 0)], {}, None)
    finally:
        producer.close()


def read_log(settings: KafkaSettings, topic: str) -> MarkBook:
    """All marks that the topic holds now; waits for transactions that are open."""
    watchdog = Watchdog()
    bounds = log_bounds(settings, [describe_topic(settings, topic)], watchdog)[topic]
    if bounds[0].start > 0:
        raise cut_log(topic, bounds[0].start)
    book = MarkBook()
    for written in read_committed(settings, topic, bounds, watchdog):
        book.add(written.offset, written.content.value, written.offset + 1)
    return book
