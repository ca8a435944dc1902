"""A bounded part of a topic, read without a group: what a backtest replays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import polars as pl

from longwatch.pipeline.kafka_client import TopicPartition
from longwatch.pipeline.kafka_errors import BrokerUnreachableError, RangeLostError
from longwatch.pipeline.kafka_reader import Reader
from longwatch.pipeline.kafka_settings import KafkaSettings, Truncated, Unreadable
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.records import Partition, RecordBatch


@dataclass(frozen=True)
class Bound:
    """Where a range starts (included) or ends (excluded): an offset, {partition: offset}, or a record timestamp.

    Nothing given: the log's own start or end. A time means the first record at or after it in each partition.
    """

    offset: int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)
    time_ms: int | None = None


class KafkaRange:
    """All partitions of `topic` from `start` to `end`, committed records only; ends are fixed when it is opened.

    Iterating gives batches of each partition in the order of its offsets, and ends at the ends. `unreadable` lists
    what was stepped over. Raises RangeLostError when retention passes the reader.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        start: Bound | None = None,
        end: Bound | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._settings = settings
        self.unreadable: list[Unreadable] = []
        described = describe_topic(settings, topic)
        self._reader = Reader(settings, described, _lost, self.unreadable.append, watchdog or Watchdog(), group=False)
        self._tps = [TopicPartition(topic, number) for number in range(described.partitions)]
        self.ranges = self._resolve(start or Bound(), end or Bound())
        self._open = {at.partition: end for at, (start, end) in self.ranges.items() if start < end}
        self._sought: set[int] = set()
        self._begun = False

    def __iter__(self) -> Iterator[RecordBatch]:
        if self._open and not self._begun:
            self._begun = True
            self._assign(self._open)
        quiet = 0.0
        while self._open:
            self._sought.clear()
            batches = [each for each in self._reader.poll(200) if each.partition.partition in self._open]
            for batch in batches:
                # What was fetched before a seek is read again.
                if batch.partition.partition not in self._sought:
                    yield _cut(batch, self._open[batch.partition.partition])
            before = len(self._open)
            self._finish(self._open)
            quiet = 0.0 if batches or len(self._open) < before else quiet + 0.2
            if quiet > self._settings.call_deadline_seconds:
                raise BrokerUnreachableError(
                    f"no record for {quiet:.0f} s before the ends {self._open}", "look at the broker"
                )

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this offset of the range next, also after it was read to its end: iterate again then."""
        number, end = partition.partition, self.ranges[partition][1]
        self._sought.add(number)
        if offset < end:
            self._open[number] = end
            self._reader.consumer.resume(self._tps[number])
            self._reader.seek(number, offset)

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def _resolve(self, start: Bound, end: Bound) -> dict[Partition, tuple[int, int]]:
        starts, ends = self._offsets_at(start), self._offsets_at(end)
        ranges = {}
        for tp in self._tps:
            first, last = self._reader.bounds(tp.partition)
            begin = min(max(_given(start, starts, tp, first), first), last)
            stop = max(min(_given(end, ends, tp, last), last), begin)
            ranges[self._reader.partition(tp.partition)] = (begin, stop)
        return ranges

    def _offsets_at(self, bound: Bound) -> dict[Any, Any]:
        if bound.time_ms is None:
            return {}
        asked = dict.fromkeys(self._tps, bound.time_ms)
        within = {"timeout_ms": self._settings.answer_ms}
        found = self._reader.call("offsets by time", self._reader.consumer.offsets_for_times, asked, **within)
        return dict(found)

    def _assign(self, open_ranges: Mapping[int, int]) -> None:
        starts = {at.partition: start for at, (start, _) in self.ranges.items()}
        consumer = self._reader.consumer
        consumer.assign([tp for tp in self._tps if tp.partition in open_ranges])
        self._reader.learn_topic()
        for number in open_ranges:
            self._reader.seek(number, starts[number])

    def _finish(self, open_ranges: dict[int, int]) -> None:
        # By position, not by the last record: transaction markers at the end are never returned.
        for number in [each for each, end in open_ranges.items() if self._reader.position(each) >= end]:
            self._reader.consumer.pause(self._tps[number])
            del open_ranges[number]


def _given(bound: Bound, by_time: Mapping[Any, Any], tp: Any, otherwise: int) -> int:
    if bound.time_ms is not None:
        # No record at or after that time: the range starts, or ends, at the end.
        found = by_time.get(tp)
        return 2**62 if found is None else int(found.offset)
    given = bound.offsets.get(tp.partition, bound.offset)
    return otherwise if given is None else given


def _cut(batch: RecordBatch, end: int) -> RecordBatch:
    if batch.next_offset <= end:
        return batch
    return RecordBatch(batch.partition, batch.frame.filter(pl.col("offset") < end), end)


def _lost(gap: Truncated) -> NoReturn:
    raise RangeLostError(
        f"offset {gap.wanted} is not in the log [{gap.log_start}, {gap.log_end})",
        "retention passed the reader, or the topic was cut; choose a later start",
        source=f"{gap.partition}@{gap.wanted}",
    )
