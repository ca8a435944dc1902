"""Dead letters read from their topic with their headers, and the headers of the records they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

from longwatch.pipeline.dead_letters import DeadLetter
from longwatch.pipeline.kafka_client import TopicPartition
from longwatch.pipeline.kafka_errors import BrokerUnreachableError, RangeLostError
from longwatch.pipeline.kafka_reader import Reader
from longwatch.pipeline.kafka_settings import KafkaSettings, Truncated, Unreadable
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_watchdog import Watchdog

POLL_MS = 200


class LetterBox:
    """All of a topic that is there when it is opened, committed records only, partition by partition."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        # Read as columns, records would have no headers.
        self._settings = replace(settings, columns=False)
        self._topic = describe_topic(settings, topic)
        self._reader = Reader(self._settings, self._topic, _lost, _unreadable, Watchdog(), group=False)

    def letters(self, since_ms: int | None = None) -> Iterator[DeadLetter]:
        """Every letter, those written before `since_ms` left out where the log knows how."""
        for number in range(self._topic.partitions):
            start, end = self._reader.bounds(number)
            start = start if since_ms is None else self._first_since(number, since_ms, end)
            yield from self._letters(number, start, end)

    def record_at(self, number: int, offset: int) -> DeadLetter | None:
        """One record of the topic; None when the log no longer has it."""
        if number >= self._topic.partitions:
            return None
        start, end = self._reader.bounds(number)
        if not start <= offset < end:
            return None
        return next((each for each in self._letters(number, offset, offset + 1) if each.offset == offset), None)

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def _letters(self, number: int, start: int, end: int) -> Iterator[DeadLetter]:
        for record in self._records(number, start, end):
            headers = {name: value or b"" for name, value in record.headers}
            value = record.value or b""
            yield DeadLetter(self._topic.name, number, record.offset, record.timestamp, record.key, value, headers)

    def _records(self, number: int, start: int, end: int) -> Iterator[Any]:
        if start >= end:
            return
        tp = TopicPartition(self._topic.name, number)
        self._reader.consumer.assign([tp])
        self._reader.learn_topic()
        self._reader.seek(number, start)
        quiet_s = 0.0
        while self._reader.position(number) < end:
            before = self._reader.position(number)
            found = self._reader.call(
                f"records of {tp.topic}[{number}]", self._reader.consumer.poll, timeout_ms=POLL_MS
            )
            yield from (record for record in found.get(tp, ()) if record.offset < end)
            quiet_s = quiet_s + POLL_MS / 1000 if self._reader.position(number) == before else 0.0
            if quiet_s > self._settings.call_deadline_seconds:
                raise BrokerUnreachableError(f"no record of {tp.topic}[{number}]@{before} came", "look at the broker")

    def _first_since(self, number: int, since_ms: int, end: int) -> int:
        tp = TopicPartition(self._topic.name, number)
        found = self._reader.call("offsets by time", self._reader.consumer.offsets_for_times, {tp: since_ms})
        return end if found.get(tp) is None else int(found[tp].offset)


def _lost(gap: Truncated) -> NoReturn:
    raise RangeLostError("the log was cut while it was read", "run it again", source=f"{gap.partition}@{gap.wanted}")


def _unreadable(gap: Unreadable) -> NoReturn:
    raise RangeLostError(f"cannot be read: {gap.reason}", "look at the broker", source=f"{gap.partition}@{gap.first}")
