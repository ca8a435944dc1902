"""One partition's fetched records as columns, in the place of the client library's own; knows nothing of the client."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from longwatch.pipeline.kafka_batches import BoundedRecords, Limits, PollBudget
from longwatch.pipeline.kafka_columns import RecordColumns, Taken


class BoundedReading:
    """Mixed into the client's `PartitionRecords`: read within limits, and dropped when reading raises.

    kafka-python 3.0.12 keeps such a buffer, exhausted but never empty, and the next poll() would spin on it for ever.
    """

    record_iterator: Any
    drain: Any

    def __init__(
        self, fetch_offset: int, tp: Any, records: Any, *, limits: Limits, budget: PollBudget, **options: Any
    ) -> None:
        super().__init__(fetch_offset, tp, BoundedRecords(records, tp, limits), **options)  # type: ignore[call-arg]
        self._budget = budget
        self.record_iterator = self._metered(self.record_iterator)

    def take(self, n: int) -> Any:
        """Up to n records, less where the poll's budget ends."""
        try:
            return super().take(n)  # type: ignore[misc]
        except Exception:
            self.drain()
            raise

    def _metered(self, records: Iterator[Any]) -> Iterator[Any]:
        return self._budget.metered(records)


class ColumnReading(BoundedReading):
    """Mixed into the client's `PartitionRecords`: batches are read whole, and what they hold is given in pieces.

    Which batches are skipped, as aborted or as control batches, and where the next fetch begins is as in kafka-python
    3.0.12. `corrupt` is the client's error of a wrong checksum.
    """

    corrupt: type[Exception]
    fetch_offset: int
    topic_partition: Any
    leader_epoch: int
    next_fetch_offset: int
    bytes_read: int
    records_read: int
    check_crcs: bool
    isolation_level: Any
    aborted_producer_ids: set[int]
    read_committed: Any
    _rest: RecordColumns | None = None
    _next_inline_exception: Exception | None
    _maybe_raise_next_inline_exception: Any
    _consume_aborted_transactions_up_to: Any
    _contains_abort_marker: Any
    _is_batch_aborted: Any

    def take(self, n: int) -> Taken:
        """Up to n records, less where the poll's budget ends; a fault raises once what is before it was given."""
        parts: deque[RecordColumns] = deque()
        try:
            self._maybe_raise_next_inline_exception()
            while n > 0 and not self._budget.spent and (part := self._next_part(n)) is not None:
                parts.append(part)
                n -= len(part)
        except Exception as error:
            if not parts:
                self.drain()
                raise
            self._next_inline_exception = error
        return Taken(list(parts))

    def _metered(self, records: Iterator[Any]) -> Iterator[Any]:
        return records

    def _next_part(self, most: int) -> RecordColumns | None:
        """The next records of one batch, at most so many and within the budget; None behind the last batch."""
        if self._rest is None:
            found = next(self.record_iterator or iter(()), None)
            if found is None:
                return None
            self._rest = found.since(self.fetch_offset)
        stop = self._budget.room(self._rest.sizes[:most])
        part, left = self._rest.rows(0, stop), self._rest.rows(stop, len(self._rest))
        self._rest = left if len(left) else None
        self.records_read += len(part)
        self.bytes_read += int(part.sizes.sum())
        self.next_fetch_offset = part.last_offset + 1
        return part.alone()

    def _maybe_skip_record(self, part: RecordColumns) -> bool:
        """A fetch gives the whole batch that its offset is in: parts that end before it are left out."""
        return part.last_offset < self.fetch_offset

    def _unpack_records(self, tp: Any, records: Any, *_: object) -> Iterator[RecordColumns]:
        last = None
        while (batch := records.next_batch()) is not None:
            last = batch
            if self.check_crcs and not batch.validate_crc():
                raise self.corrupt(
                    f"Record batch for partition {self.topic_partition} at offset {batch.base_offset} failed crc check"
                )
            if batch.magic == 2 and self._is_passed(batch):
                self.next_fetch_offset = batch.next_offset
            else:
                yield from batch.columns(self.check_crcs)
        # The last record may have been compacted away: without this the batch would be fetched again for ever.
        if last is not None and last.magic == 2:
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _is_passed(self, batch: Any) -> bool:
        """Whether the batch holds nothing for the reader: part of an aborted transaction, or a marker."""
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == self.read_committed and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)
