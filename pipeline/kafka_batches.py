"""Record batches read within limits, and stopped at the first thing that is not true; knows nothing of the client.

A broker checks a batch when it is produced. What it serves may still be a bomb, or not what it once was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwatch.pipeline.kafka_codec import decompress
from longwatch.pipeline.kafka_columns import RecordColumns
from longwatch.pipeline.kafka_kernel import FIELDS, LEAST_RECORD_BYTES, MAX_HEADERS, read_records

LARGE_RECORD = 64 * 1024
FEW = 8
"""So many records are read one by one before a call into compiled code pays."""
LARGE_BATCH = 2 << 20
"""Larger ones are read piece by piece: as columns their headers and all would be held several times over."""
PIECE, PIECE_BYTES = 500, 1 << 20

_FORMAT = 2
_HEADER_BYTES = 61
_FIRST_MS, _LAST_MS = -(1 << 63), (1 << 63) - 1


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
        self._fault: Exception | None = None

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
                if not _FIRST_MS <= record.timestamp <= _LAST_MS:
                    raise ValueError(f"a record says time {record.timestamp}, which does not fit into 64 bits")
                free = record.offset + 1
                yield record
        except Exception as error:
            end = max(batch.base_offset + 1 if batch.magic < _FORMAT else batch.next_offset, free)
            raise BrokenBatchError(self._tp, free, end, f"{type(error).__name__}: {error}") from error

    def columns(self, check_crcs: bool) -> Iterator[RecordColumns]:
        """Its records as one part or, where something is odd, as those that can be read; then BrokenBatchError."""
        count = self._batch.records_count if self._batch.magic == _FORMAT else 0
        if count > FEW and (found := self._columns()) is not None:
            yield found
            return
        records, broken = self._checked(check_crcs), None
        while broken is None:
            some: list[Any] = []
            try:
                some.extend(_piece(records))
            except BrokenBatchError as error:
                broken = error
            if some:
                yield RecordColumns.of(some)
            elif broken is None:
                return
        raise broken

    def _checked(self, check_crcs: bool) -> Iterator[Any]:
        # Of format 2 the batch has the only checksum; before it, each record has its own.
        for record in self:
            if check_crcs and not record.validate_crc():
                raise BrokenBatchError(self._tp, record.offset, record.offset + 1, "the record failed its crc check")
            yield record

    def _columns(self) -> RecordColumns | None:
        """All its records, None where anything about them is odd."""
        batch = self._batch
        try:
            self._uncompress()
        except Exception as error:
            # Once is enough: what it made before it failed stays with the traceback.
            self._fault = error.with_traceback(None)
            return None
        if len(batch._buffer) > LARGE_BATCH or batch.records_count > len(batch._buffer) // LEAST_RECORD_BYTES:
            return None
        columns = np.empty((FIELDS, batch.records_count), np.int64)
        fixed = batch.timestamp_type == batch.LOG_APPEND_TIME
        base = np.array([batch.base_offset, batch.max_timestamp if fixed else batch.first_timestamp], np.int64)
        content = np.frombuffer(batch._buffer, np.uint8)
        content.flags.writeable = False  # as the kernel is compiled for
        in_order = read_records(content, batch._pos, base, batch.last_offset_delta, fixed, columns)
        return RecordColumns(batch._buffer, columns) if in_order else None

    def _uncompress(self) -> None:
        batch = self._batch
        if self._fault is not None:
            raise self._fault
        if batch._decompressed:
            return
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

    def room(self, sizes: NDArray[np.int64]) -> int:
        """How many records of these sizes are still given, one at least; they are counted."""
        ends = self._given + np.cumsum(sizes)
        stop = min(len(sizes), int(np.searchsorted(ends, self._limit)) + 1)
        self._given = int(ends[stop - 1])
        return stop

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


def _piece(records: Iterator[Any]) -> Iterator[Any]:
    """The next few records, fewer where they are large."""
    size = 0
    for record in islice(records, PIECE):
        yield record
        size += len(record.key or b"") + len(record.value or b"")
        if size >= PIECE_BYTES:
            return


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
