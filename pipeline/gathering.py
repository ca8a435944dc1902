"""Polled records that wait for more of them: scored together they cost less, and outputs do not depend on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import polars as pl

from longwatch.pipeline.records import Partition, RecordBatch

MOST_BYTES = 2 << 20
"""So many bytes of values do not wait for more: a few polls of large records would fill the memory."""


class Gathering:
    """Record batches until there are `records` of them, or MOST_BYTES, or the oldest has waited for `wait_s`."""

    def __init__(self, records: int, wait_s: float) -> None:
        self._records = records
        self._wait_s = wait_s
        self._batches: dict[Partition, list[RecordBatch]] = {}
        self._since = 0.0
        self._bytes = 0
        self.num_records = 0

    def add(self, batches: Iterable[RecordBatch], now: float) -> None:
        """Take what one poll gave, at `now` of a monotonic clock."""
        for batch in batches:
            if not self.num_records:
                self._since = now
            self._batches.setdefault(batch.partition, []).append(batch)
            self.num_records += len(batch.frame)
            self._bytes += int(batch.frame["value"].bin.size().sum() or 0)

    def left_ms(self, now: float) -> int:
        """How long the oldest may still wait; 0 once they are due, because of their number or their age."""
        if self.num_records >= self._records or self._bytes >= MOST_BYTES:
            return 0
        return max(0, int(1000 * (self._since + self._wait_s - now)))

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget records of partitions that went, or that are read again; the bytes count what is forgotten, too."""
        self._batches = {each: held for each, held in self._batches.items() if each not in partitions}
        self.num_records = sum(len(batch.frame) for held in self._batches.values() for batch in held)

    def take(self) -> list[RecordBatch]:
        """All of them, one batch a partition, by partition."""
        taken, self._batches, self.num_records, self._bytes = self._batches, {}, 0, 0
        return [_joined(taken[partition]) for partition in sorted(taken)]


def _joined(batches: Sequence[RecordBatch]) -> RecordBatch:
    last = batches[-1]
    if len(batches) == 1:
        return last
    return RecordBatch(last.partition, pl.concat([batch.frame for batch in batches], rechunk=True), last.next_offset)
