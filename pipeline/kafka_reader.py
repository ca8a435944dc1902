"""Reading partitions so that nothing is skipped silently and no poll spins; the group source and the range use it."""

from collections.abc import Callable
from typing import Any

from longwatch.pipeline.errors import BrokerError
from longwatch.pipeline.kafka_batches import BrokenBatchError
from longwatch.pipeline.kafka_client import (
    TopicPartition,
    is_broken_data,
    translate,
    translated,
    truncated_offsets,
)
from longwatch.pipeline.kafka_consumed import current_topic_id, record_frame
from longwatch.pipeline.kafka_errors import BrokerUnreachableError, TopicRecreatedError
from longwatch.pipeline.kafka_port import KAFKA, Port
from longwatch.pipeline.kafka_settings import KafkaSettings, TopicDescription, Truncated, Unreadable
from longwatch.pipeline.kafka_unreadable import end_of_fault
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.records import Partition, RecordBatch

POLL_MS = 200
PROBE_MS = 1000


class Reader:
    """One consumer's records as columns; a position outside the log and broken batches are reported, then passed.

    `on_truncated` and `on_unreadable` run inside `poll`; what they raise leaves `poll` and the position stays.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: TopicDescription,
        on_truncated: Callable[[Truncated], None],
        on_unreadable: Callable[[Unreadable], None],
        watchdog: Watchdog,
        *,
        group: bool,
        port: Port = KAFKA,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._on_truncated = on_truncated
        self._on_unreadable = on_unreadable
        self._watchdog = watchdog
        self._port = port
        self.consumer = port.open_consumer(settings, group=group, columns=settings.columns)
        self._ends: dict[int, int] = {}

    def learn_topic(self) -> None:
        """Fetch the topic's metadata, after subscribing or assigning.

        A member that leads its group before it knows the topic assigns nothing, and kafka-python 3.0.12 may not
        notice when it learns of it: the group then stands still.
        """
        self.call(f"partitions of {self._topic.name}", self.consumer.partitions_for_topic, self._topic.name)

    def partition(self, number: int) -> Partition:
        """The topic's partition of this number, with the topic's UUID."""
        return Partition(self._topic.name, self._topic.topic_id, number)

    def poll(self, timeout_ms: int) -> list[RecordBatch]:
        """Batches in the order of their partition; empty after at most `timeout_ms` and 200 ms."""
        try:
            with self._watchdog.guard("poll", self._settings.call_deadline_seconds):
                found = self.consumer.poll(timeout_ms=min(timeout_ms, POLL_MS))
        except Exception as error:
            self._recover(error)
            return []
        self._check_topic()
        return [self._batch(tp, found[tp]) for tp in sorted(found)]

    def position(self, number: int) -> int:
        """The offset to read next; it moves past control records without a batch being returned."""
        tp = TopicPartition(self._topic.name, number)
        what = f"position of {tp.topic}[{number}]"
        found = self.call(what, self.consumer.position, tp, timeout_ms=self._settings.answer_ms)
        if found is None:
            raise BrokerUnreachableError(f"no {what} within the deadline", "look at the broker")
        return int(found)

    def bounds(self, number: int) -> tuple[int, int]:
        """The log's first offset and the offset after the last committed record, asked of the broker."""
        tp = TopicPartition(self._topic.name, number)
        what = f"offsets of {tp.topic}[{number}]"
        start = self.call(what, self.consumer.beginning_offsets, [tp], timeout_ms=self._settings.answer_ms)
        return int(start[tp]), self.end(number)

    def end(self, number: int) -> int:
        """The offset after the last committed record, asked of the broker."""
        tp = TopicPartition(self._topic.name, number)
        what = f"offsets of {tp.topic}[{number}]"
        end = self.call(what, self.consumer.end_offsets, [tp], timeout_ms=self._settings.answer_ms)
        self._ends[number] = int(end[tp])
        return self._ends[number]

    def at_end(self, number: int) -> bool:
        """Whether every committed record was read; asks no broker before the end that it told last is reached."""
        position = self.position(number)
        return position >= self._ends.get(number, 0) and position >= self.end(number)

    def seek(self, number: int, offset: int) -> None:
        """Read this offset next; nothing happens when the partition is no longer assigned."""
        tp = TopicPartition(self._topic.name, number)
        # Where a log was cut, its end went back.
        self._ends.pop(number, None)
        if tp in self.consumer.assignment():
            self.call("seek", self.consumer.seek, tp, offset)

    def call(self, what: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The client's answer, within the deadline and with its errors translated."""
        with (
            self._watchdog.guard(what, self._settings.call_deadline_seconds),
            translated(f"asking for {what}", self._settings),
        ):
            return function(*arguments, **named)

    def close(self) -> None:
        """Leave; a static member keeps its partitions until its session times out. Commits nothing."""
        deadline_ms = self._settings.request_timeout_ms
        self.call("close", self.consumer.close, autocommit=False, timeout_ms=deadline_ms)

    def _batch(self, tp: Any, records: list[Any]) -> RecordBatch:
        return RecordBatch(self.partition(tp.partition), record_frame(records), self.position(tp.partition))

    def _check_topic(self) -> None:
        now = current_topic_id(self.consumer, self._topic.name)
        if now is not None and now != self._topic.topic_id:
            raise TopicRecreatedError(
                f"topic {self._topic.name} was made again while it was read: id {now}, was {self._topic.topic_id}",
                "restart: the new topic is read as another log",
            )

    def _recover(self, error: Exception) -> None:
        if isinstance(error, BrokenBatchError):
            self._step_over(error.tp, error.first, error.next_offset, error.reason)
            return
        truncated = truncated_offsets(error)
        for tp, divergent in truncated.items():
            self._step_into_log(tp, divergent)
        if truncated or (is_broken_data(error) and self._step_over_broken()):
            return
        failure = translate(error, f"reading topic {self._topic.name}", self._settings)
        # The client tries again by itself; what it could not do this time shows as an empty poll.
        if not (isinstance(failure, BrokerError) and failure.retriable):
            raise failure from error

    def _step_into_log(self, tp: Any, divergent: int | None) -> None:
        self._check_topic()
        wanted = self.position(tp.partition)
        start, end = self.bounds(tp.partition)
        resume_at = start if wanted < start else min(end if divergent is None else divergent, wanted, end)
        if resume_at != wanted:
            self._on_truncated(Truncated(self.partition(tp.partition), wanted, start, end, resume_at))
        self.seek(tp.partition, resume_at)

    def _step_over_broken(self) -> bool:
        """Seek past every assigned partition's broken batch; False when all of them can be read."""
        stepped = False
        for tp in sorted(self.consumer.assignment() - self.consumer.paused()):
            first, (_, end) = self.position(tp.partition), self.bounds(tp.partition)
            if first >= end:
                continue
            with _Probe(self._settings, tp, self._port) as probe:
                reason = probe.fault_at(first)
                if reason is None:
                    continue
                next_offset = end_of_fault(probe.fault_at, first, end)
            self._step_over(tp, first, next_offset, reason)
            stepped = True
        return stepped

    def _step_over(self, tp: Any, first: int, next_offset: int, reason: str) -> None:
        position = self.position(tp.partition)
        # Behind the last record there may still be a lie, such as bytes too many: then no record is missing.
        if position < next_offset:
            gap = Unreadable(self.partition(tp.partition), max(first, position), next_offset, reason)
            self._on_unreadable(gap)
            self.seek(tp.partition, next_offset)


class _Probe:
    """Reads single offsets of one partition with a consumer of its own, to see which of them raise."""

    def __init__(self, settings: KafkaSettings, tp: Any, port: Port) -> None:
        self._settings = settings
        self._tp = tp
        self._consumer = port.open_consumer(settings, columns=settings.columns)
        self._consumer.assign([tp])

    def __enter__(self) -> "_Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close(autocommit=False)

    def fault_at(self, offset: int) -> str | None:
        """What is wrong with the batch that holds this offset; raises when a broker, not the data, is the cause."""
        self._consumer.seek(self._tp, offset)
        try:
            self._consumer.poll(timeout_ms=PROBE_MS, max_records=1)
        except Exception as error:
            if not is_broken_data(error):
                raise translate(error, f"reading {self._tp.topic}[{self._tp.partition}]", self._settings) from error
            return f"{type(error).__name__}: {error}"
        return None
