"""A batch is read up to its first lie, within its limits, and says which records are then missing."""

import warnings
from dataclasses import dataclass
from itertools import islice

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from chaos.hostile_batches import batch, record, varint
from longwatch.pipeline.kafka_batches import MAX_HEADERS, BoundedRecords, BrokenBatchError, Limits, PollBudget

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.record.memory_records import MemoryRecords

MIB = 1 << 20
BASE = 10


def read(content: bytes) -> tuple[list[int], BrokenBatchError | None]:
    """Offsets of the records of one batch that can be read, and what stopped the reading."""
    found = BoundedRecords(MemoryRecords(content), "logs[0]", Limits(MIB, MIB)).next_batch()
    assert found is not None
    offsets: list[int] = []
    try:
        offsets.extend(each.offset for each in found)
    except BrokenBatchError as error:
        return offsets, error
    return offsets, None


def records(*offsets: int) -> bytes:
    return b"".join(record(each) for each in offsets)


def test_a_true_batch_is_read_whole():
    assert read(batch(BASE, 0, records(0, 1, 2, 3))) == ([10, 11, 12, 13], None)
    assert read(batch(BASE, 0, zstandard.compress(records(0, 1, 2, 3)), codec=4)) == ([10, 11, 12, 13], None)


def test_what_compaction_took_is_not_missing():
    assert read(batch(BASE, 0, records(0, 5), count=2, span=9)) == ([10, 15], None)


@pytest.mark.parametrize(
    ("offsets", "read_first"), [((0, 1, 1, 2), 2), ((0, 3, 1, 2), 1), ((-5, 1, 2, 3), 0), ((0, 1, 2, 9), 3)]
)
def test_an_offset_out_of_its_turn_ends_the_batch_and_the_rest_is_missing(offsets, read_first):
    found, error = read(batch(BASE, 0, records(*offsets)))
    assert found == list(range(BASE, BASE + read_first))
    assert (error.first, error.next_offset, error.tp) == (BASE + read_first, BASE + 4, "logs[0]")


@given(noise=st.binary(max_size=80), keep=st.integers(0, 4), codec=st.integers(0, 7))
def test_every_offset_of_any_batch_is_read_once_or_missing_once(noise, keep, codec):
    found, error = read(batch(BASE, 0, records(*range(keep)) + noise, codec=codec))
    missing = range(error.first, error.next_offset) if error is not None else range(0)
    assert found + list(missing) == list(range(BASE, BASE + 4))


def test_a_batch_that_would_become_too_large_is_missing_whole():
    content = batch(BASE, 0, zstandard.compress(record(0, bytes(2 * MIB))), count=1, codec=4)
    found, error = read(content)
    assert (found, error.first, error.next_offset) == ([], BASE, BASE + 4)
    assert "1,048,576" in error.reason


def with_headers(count: int, value: bytes) -> bytes:
    body = b"\0\0" + varint(0) + varint(-1) + varint(len(value)) + value + varint(count) + b"\0\1" * count
    return batch(BASE, 0, varint(len(body)) + body, count=1, span=1)


def test_a_record_with_more_headers_than_anyone_writes_is_missing_before_they_are_made():
    assert read(with_headers(MAX_HEADERS, bytes(70_000))) == ([BASE], None)
    _, error = read(with_headers(MAX_HEADERS + 1, bytes(70_000)))
    assert f"{MAX_HEADERS + 1:,} headers" in error.reason


@pytest.mark.parametrize("wanted", [True, False])
def test_headers_are_kept_only_for_who_reads_them(wanted):
    content = MemoryRecords(with_headers(3, b"x"))
    (only,) = BoundedRecords(content, "logs[0]", Limits(MIB, MIB, headers=wanted)).next_batch()
    assert len(only.headers) == (3 if wanted else 0)


@dataclass
class Sized:
    serialized_value_size: int
    serialized_key_size: int = -1


def test_a_poll_ends_when_its_bytes_are_given_and_the_next_goes_on_there():
    budget = PollBudget(100)
    records = budget.metered(Sized(size) for size in (60, 60, 500, 1))
    append = budget.ending_polls(lambda _drained, part, most, _update: len(list(islice(part, most))))
    assert append({}, records, 10, True) == 10
    assert append({}, records, 10, True) == 10
    assert append({}, records, 10, True) == 1
    assert append({"some": 1}, records, 10, True) == 0
