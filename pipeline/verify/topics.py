"""The committed records of an output topic, headers included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from longwatch.pipeline.errors import InputError
from longwatch.pipeline.kafka_client import TopicPartition, open_consumer, translate, translated
from longwatch.pipeline.kafka_offsets import Bounds
from longwatch.pipeline.kafka_settings import KafkaSettings
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.verify.record import Content, Written

POLL_MS = 200


def read_committed(
    settings: KafkaSettings, topic: str, bounds: Mapping[int, Bounds], watchdog: Watchdog
) -> Iterator[Written]:
    """Committed records within the bounds, each partition in its order; waits for transactions still open in them.

    Raises:
        InputError: a transaction stays open, retention passed the reader, or a record cannot be read.
    """
    waiting = {TopicPartition(topic, number): at for number, at in bounds.items() if at.start < at.end}
    if not waiting:
        return
    consumer = open_consumer(settings)
    try:
        consumer.assign(list(waiting))
        for tp, at in waiting.items():
            consumer.seek(tp, at.start)
        yield from _read(consumer, settings, waiting, watchdog)
    finally:
        consumer.close(autocommit=False)


def _read(consumer: Any, settings: KafkaSettings, waiting: dict[Any, Bounds], watchdog: Watchdog) -> Iterator[Written]:
    quiet_ms = 0
    while waiting:
        records = _poll(consumer, settings, watchdog)
        for tp, some in records.items():
            yield from (_written(record) for record in some if record.offset < waiting[tp].end)
        done = [tp for tp, at in waiting.items() if _position(consumer, settings, tp, watchdog) >= at.end]
        for tp in done:
            consumer.pause(tp)
            del waiting[tp]
        quiet_ms = 0 if records or done else quiet_ms + POLL_MS
        if quiet_ms > settings.transaction_timeout_ms + settings.request_timeout_ms:
            raise _stuck(consumer, waiting)


def _poll(consumer: Any, settings: KafkaSettings, watchdog: Watchdog) -> dict[Any, list[Any]]:
    try:
        with watchdog.guard("poll", settings.call_deadline_seconds):
            found: dict[Any, list[Any]] = consumer.poll(timeout_ms=POLL_MS)
            return found
    except Exception as error:
        failure = translate(error, "reading output topics", settings)
        if failure.retriable:
            return {}
        raise InputError(failure.message, "read it with Kafka's own console consumer to see what is there") from error


def _position(consumer: Any, settings: KafkaSettings, tp: Any, watchdog: Watchdog) -> int:
    with (
        watchdog.guard("position", settings.call_deadline_seconds),
        translated(f"asking for the position in {tp.topic}[{tp.partition}]", settings),
    ):
        return int(consumer.position(tp))


def _stuck(consumer: Any, waiting: Mapping[Any, Bounds]) -> InputError:
    tp, at = next(iter(waiting.items()))
    return InputError(
        f"a transaction that is still open, or no broker, keeps the records up to {at.end} back",
        "`longwatch doctor` looks for hanging transactions; Kafka's kafka-transactions tool ends one",
        source=f"{tp.topic}[{tp.partition}]@{consumer.position(tp)}",
    )


def _written(record: Any) -> Written:
    headers = tuple((name, bytes(value or b"")) for name, value in record.headers)
    return Written(record.topic, record.partition, record.offset, Content(record.key, record.value or b"", headers))
