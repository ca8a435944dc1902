"""Record batches read within limits, and stopped at the first thing that is not true; knows nothing of the client.

A broker checks a batch when it is produced. What it serves may still be a bomb, or not what it once was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from longwatch.pipeline.kafka_codec import decompress

LARGE_RECORD = 64 * 1024
MAX_HEADERS = 10_000
_FORMAT = 2
_HEADER_BYTES = 61


@dataclass(frozen=True)
class Limits:
    """`batch_bytes`: the most that a batch may become. `poll_bytes`: keys and values that end a poll.

    Without `headers` they are dropped: two bytes on the wire may be one, which is a tuple in memory.
    """

    batch_bytes: int
    poll_bytes: int
    headers: bool = True


class BrokenBatchError(Exception):
    """Records [first, next_offset) of a partition are not what their batch says, or too large to be read."""

    def __init__(self, tp: Any, first: int, next_offset: int, reason: str) -> None:
        super().__init__(f"{tp}: records {first} to {next_offset}: {reason}")
        self.tp = tp
        self.first = first
        self.next_offset = next_offset
        self.reason = reason


class BoundedRecords:
    """The batches of one fetch, each in its bounds."""

    def __init__(self, records: Any, tp: Any, limits: Limits) -> None:
        self._records = records
        self._tp = tp
        self._limits = limits

    def next_batch(self) -> "BoundedBatch | None":
        """The next one, None behind the last."""
        batch = self._records.next_batch()
        return None if batch is None else BoundedBatch(batch, self._tp, self._limits)


class BoundedBatch:
    """A batch of the client library that is decompressed and read within limits; all else is the library's."""

    def __init__(self, batch: Any, tp: Any, limits: Limits) -> None:
        self._batch = batch
        self._tp = tp
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        """Its records in order, each with an offset of its own inside the batch; BrokenBatchError at the first lie."""
        batch = self._batch
        free = batch.base_offset
        try:
            self._uncompress()
            last = batch.base_offset if batch.magic < _FORMAT else batch.last_offset
            # Compaction takes records out of a batch; one that has all of them leaves no offset out.
            whole = batch.magic == _FORMAT and batch.records_count == last - free + 1
            for record in self._watched():
                if not free <= record.offset <= (free if whole else last) and batch.magic == _FORMAT:
                    raise ValueError(f"a record says offset {record.offset}, {free} to {last} are left")
                free = record.offset + 1
                yield record
        except Exception as error:
            end = max(batch.base_offset + 1 if batch.magic < _FORMAT else batch.next_offset, free)
            raise BrokenBatchError(self._tp, free, end, f"{type(error).__name__}: {error}") from error

    def _uncompress(self) -> None:
        batch = self._batch
        codec = batch.compression_type
        if batch.magic > _FORMAT:
            raise ValueError(f"record format {batch.magic} is not known")
        if not codec:
            return
        if batch.magic < _FORMAT:
            raise ValueError(f"a compressed record of format {batch.magic}, of before Kafka 0.11, is not read")
        # What the library does in _maybe_uncompress, with a limit.
        data = bytes(memoryview(batch._buffer)[_HEADER_BYTES:])
        batch._buffer = bytearray(decompress(codec, data, self._limits.batch_bytes))
        batch._pos, batch._decompressed = 0, True

    def _watched(self) -> Iterator[Any]:
        batch = self._batch
        large = batch.magic == _FORMAT and len(batch._buffer) > LARGE_RECORD
        records = iter(batch)
        while True:
            if large:
                _check_headers(batch._buffer, batch._pos)
            record = next(records, None)
            if record is None:
                return
            if not self._limits.headers:
                record.headers.clear()
            yield record


class PollBudget:
    """How many bytes of keys and values a poll has given; at `limit` the poll ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._given = 0

    @property
    def spent(self) -> bool:
        """Whether this poll should give no more."""
        return self._given >= self._limit

    def ending_polls(self, append: Callable[..., int]) -> Callable[..., int]:
        """The fetcher's `_append`, which then says that nothing remains to be given once the budget is spent."""

        def appended(drained: Any, part: Any, max_records: int, update_offsets: bool) -> int:
            if not drained:
                self._given = 0
            return max(append(drained, part, max_records, update_offsets), max_records if self.spent else 0)

        return appended

    def metered(self, records: Iterator[Any]) -> "Metered":
        """The records, as many at a time as the budget allows."""
        return Metered(records, self)

    def take(self, record: Any) -> Any:
        """Count a record."""
        self._given += max(record.serialized_key_size, 0) + max(record.serialized_value_size, 0)
        return record


class Metered:
    """An iterator that stops when the budget is spent and goes on when there is a new one."""

    def __init__(self, records: Iterator[Any], budget: PollBudget) -> None:
        self._records = records
        self._budget = budget

    def __iter__(self) -> "Metered":
        return self

    def __next__(self) -> Any:
        if self._budget.spent:
            raise StopIteration
        return self._budget.take(next(self._records))


def _check_headers(buffer: bytearray, at: int) -> None:
    """Refuse a large record with more headers than anyone writes, before they become objects."""
    if at >= len(buffer):
        return
    length, at = _varint(buffer, at)
    if length <= LARGE_RECORD:
        return
    at += 1
    for _ in range(2):
        _, at = _varint(buffer, at)
    for _ in range(2):
        size, at = _varint(buffer, at)
        at += max(size, 0)
    count, _ = _varint(buffer, at)
    if count > MAX_HEADERS:
        raise ValueError(f"a record of {length:,} bytes with {count:,} headers; {MAX_HEADERS:,} are read")


def _varint(buffer: bytearray, at: int) -> tuple[int, int]:
    """A zigzag number of Kafka's and where the next thing begins."""
    value = 0
    for place in range(10):
        byte = buffer[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at + place + 1
    raise ValueError("a number of more than ten bytes")
