"""Columns of a fetch are what kafka-python's own decoder gives, whatever the bytes, the codec and the transactions."""

import gzip
import warnings
from types import SimpleNamespace

import lz4.frame
import pytest
import snappy
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaos.hostile_batches import HEADER, batch, record, varint
from longwatch.pipeline.kafka_batches import FEW, BoundedRecords, BrokenBatchError, Limits, PollBudget
from longwatch.pipeline.kafka_client import _BoundedPartition, _ColumnPartition
from longwatch.pipeline.kafka_columns import LARGE_RECORD, RecordColumns, columns_frame
from longwatch.pipeline.kafka_consumed import record_frame
from longwatch.pipeline.records import RECORD_SCHEMA

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.consumer.fetcher import IsolationLevel
    from kafka.record.default_records import DefaultRecordBase
    from kafka.record.memory_records import MemoryRecords
    from kafka.record.util import calc_crc32c

MIB = 1 << 20
CODECS = {
    0: bytes,
    1: gzip.compress,
    2: snappy.compress,
    3: lz4.frame.compress,
    4: zstandard.compress,
}
COMMITTED = IsolationLevel.READ_COMMITTED

text = st.none() | st.binary(max_size=12)
numbers = st.integers(-(2**40), 2**40) | st.sampled_from([0, 1, -1, 2**31, 2**62])
headers = st.lists(st.tuples(st.sampled_from(["", "a", "trace-id"]), text), max_size=3)


def bytes_field(value: bytes | None) -> bytes:
    return varint(-1) if value is None else varint(len(value)) + value


def encoded(offset: int, time: int, key: bytes | None, value: bytes | None, named: list) -> bytes:
    body = b"\0" + varint(time) + varint(offset) + bytes_field(key) + bytes_field(value) + varint(len(named))
    body += b"".join(bytes_field(name.encode()) + bytes_field(content) for name, content in named)
    return varint(len(body)) + body


@st.composite
def contents(draw, most: int = 30) -> tuple[bytes, int, int]:
    """The records of a batch, how many, and its span of offsets; some offsets may have been compacted away."""
    kept = sorted(draw(st.sets(st.integers(0, most), min_size=1, max_size=most)))
    rows = [encoded(each, draw(numbers), draw(text), draw(text), draw(headers)) for each in kept]
    return b"".join(rows), len(rows), kept[-1] + 1 + draw(st.integers(0, 2))


def sealed(base: int, payload: bytes, count: int, attributes: int, span: int, producer: int = -1) -> bytes:
    """A batch with its checksum right, written by a producer from millisecond 5 to 9."""
    fields = (0, attributes, span - 1, 5, 9, producer, 0, 0, count)
    size = HEADER.size - DefaultRecordBase.AFTER_LEN_OFFSET + len(payload)
    start = DefaultRecordBase.ATTRIBUTES_OFFSET
    crc = calc_crc32c(HEADER.pack(base, size, 0, 2, *fields)[start:] + payload)
    return HEADER.pack(base, size, 0, 2, crc, *fields[1:]) + payload


def one_by_one(content: bytes) -> tuple[list[tuple], tuple | None]:
    """Rows of the first batch as the client library reads them, and what stopped it."""
    rows: list[tuple] = []
    try:
        found = BoundedRecords(MemoryRecords(content), "logs[0]", Limits(MIB, MIB)).next_batch()
        rows.extend((each.offset, each.timestamp, each.key, each.value) for each in found)
    except BrokenBatchError as error:
        return rows, (error.first, error.next_offset, error.reason)
    return rows, None


def in_columns(content: bytes) -> tuple[list[tuple], tuple | None]:
    parts: list[RecordColumns] = []
    error = None
    try:
        parts.extend(BoundedRecords(MemoryRecords(content), "logs[0]", Limits(MIB, MIB)).next_batch().columns(True))
    except BrokenBatchError as broken:
        error = (broken.first, broken.next_offset, broken.reason)
    return [row for part in parts for row in columns_frame([part]).iter_rows()], error


@settings(deadline=None)
@given(contents(), st.sampled_from(sorted(CODECS)), st.sampled_from([0, 8]))
def test_columns_equal_the_records_of_the_client_library(made, codec, time_type):
    payload, count, span = made
    content = sealed(1000, CODECS[codec](payload), count, codec | time_type, span)
    rows, error = one_by_one(content)
    assert error is None
    assert in_columns(content) == (rows, None)


@settings(deadline=None)
@given(contents(), st.sampled_from(sorted(CODECS)), st.data())
def test_a_batch_with_any_byte_changed_gives_the_same_records_and_the_same_fault(made, codec, data):
    payload, count, span = made
    where = data.draw(st.integers(0, len(payload) - 1))
    payload = payload[:where] + data.draw(st.binary(min_size=1, max_size=3)) + payload[where + 1 :]
    count = data.draw(st.sampled_from([count, count - 1, count + 1, 2**31 - 1, -1]))
    content = batch(1000, 1_700_000_000_000, CODECS[codec](payload), count, codec, span)
    assert in_columns(content) == one_by_one(content)


@settings(deadline=None)
@given(st.binary(max_size=400), st.integers(0, 60), st.integers(0, 7))
@example(b"\x80" * 40, 20, 0)
def test_noise_gives_the_same_records_and_the_same_fault(noise, count, codec):
    content = batch(1000, 1_700_000_000_000, b"".join(map(record, range(12))) + noise, count, codec, 60)
    assert in_columns(content) == one_by_one(content)


def transactional(base: int, producer: int, count: int, abort: bool | None = None) -> bytes:
    """A batch of a producer's open transaction or, with `abort`, the marker that ends it."""
    if abort is not None:
        return sealed(base, record(0, b"\0" * 6, b"\0\0\0\0" if abort else b"\0\0\0\1"), 1, 48, 1, producer)
    return sealed(
        base, b"".join(record(each, b"%d" % (base + each)) for each in range(count)), count, 16, count, producer
    )


@st.composite
def fetches(draw):
    """A fetch's bytes, the aborted transactions that come with it, the offset that was asked for; perhaps torn."""
    content, offset, opened, aborted = b"", 100, {}, []
    for _ in range(draw(st.integers(1, 8))):
        producer, size = draw(st.integers(1, 2)), draw(st.integers(1, 2 * FEW))
        if producer in opened and draw(st.booleans()):
            abort = draw(st.booleans())
            if abort:
                aborted.append(SimpleNamespace(producer_id=producer, first_offset=opened[producer]))
            content, size = content + transactional(offset, producer, 1, abort), 1
            del opened[producer]
        elif draw(st.booleans()):
            content += sealed(offset, b"".join(record(each, b"plain") for each in range(size)), size, 0, size + 2)
            offset += 2
        else:
            opened.setdefault(producer, offset)
            content += transactional(offset, producer, size)
        offset += size
    torn = draw(st.none() | st.integers(61, len(content) - 1))
    if torn is not None:
        content = content[:torn] + bytes([content[torn] ^ 1]) + content[torn + 1 :]
    return content, aborted, draw(st.integers(100, min(offset, 110)))


def trace(reading, fetch, takes: list[int], limit: int) -> list[object]:
    """What each take gives, the offset of the next fetch after it, and the error that ends it."""
    content, aborted, first = fetch
    drained: list[object] = []
    budget = PollBudget(limit)
    part = reading(
        first,
        SimpleNamespace(topic="logs", partition=0),
        MemoryRecords(content),
        limits=Limits(MIB, limit),
        budget=budget,
        isolation_level=COMMITTED,
        aborted_transactions=aborted,
        on_drain=drained.append,
    )
    seen: list[object] = []
    give = budget.ending_polls(lambda _drained, part, most, _update: seen.append(part.take(most)) or 0)
    for most in takes:
        if not part:
            break
        try:
            give({}, part, most, True)
        except Exception as error:
            return [*_rows(seen), f"{type(error).__name__}: {error}", bool(part), len(drained)]
        seen.append(part.next_fetch_offset)
    return [*_rows(seen), bool(part), len(drained)]


def _rows(seen: list[object]) -> list[object]:
    return [each if isinstance(each, int) else list(record_frame(list(each)).iter_rows()) for each in seen]


@settings(deadline=None)
@given(fetches(), st.lists(st.integers(1, 40), min_size=1, max_size=12), st.sampled_from([5, 60, MIB]))
def test_takes_of_any_size_give_what_the_client_library_gives(fetch, takes, limit):
    assert trace(_ColumnPartition, fetch, takes, limit) == trace(_BoundedPartition, fetch, takes, limit)


def test_parts_of_several_batches_are_one_frame_in_order():
    parts = [RecordColumns.of([SimpleNamespace(offset=at, timestamp=5, key=None, value=b"%d" % at)]) for at in (3, 7)]
    frame = columns_frame(parts)
    assert frame.schema == RECORD_SCHEMA
    assert frame.rows() == [(3, 5, None, b"3"), (7, 5, None, b"7")]


@pytest.mark.parametrize("size", [LARGE_RECORD // 2, 2 * LARGE_RECORD])
def test_large_records_are_the_same_rows_as_small_ones(size):
    texts = [(None, b"x" * size), (b"key", b""), (b"", b"y" * 2 * size), (b"k", None)]
    rows = [SimpleNamespace(offset=at, timestamp=at, key=key, value=value) for at, (key, value) in enumerate(texts)]
    frame = columns_frame([RecordColumns.of(rows[:2]), RecordColumns.of(rows[2:])])
    assert frame.schema == RECORD_SCHEMA
    assert frame.rows() == [(at, at, *text) for at, text in enumerate(texts)]


def test_an_ordinary_batch_takes_the_compiled_way_and_an_odd_one_does_not():
    rows = [encoded(each, each, b"key", b"value", [("trace-id", b"1")]) for each in range(FEW + 1)]
    ordinary = batch(10, 5, b"".join(rows), len(rows), 0, len(rows))
    odd = batch(10, 5, b"".join([*rows[:-1], encoded(FEW, 0, None, None, [("ä", None)])]), len(rows), 0, len(rows))
    opened = [BoundedRecords(MemoryRecords(each), "logs[0]", Limits(MIB, MIB)).next_batch() for each in (ordinary, odd)]
    assert [each._columns() is None for each in opened] == [False, True]
    assert in_columns(odd) == one_by_one(odd)


def test_a_time_beyond_64_bits_is_a_fault_of_its_record():
    far = encoded(1, 2**62, None, b"x", [])
    content = batch(10, 2**63 - 1, record(0) + far + record(2), 3, 0, 3)
    assert in_columns(content) == one_by_one(content)
    assert one_by_one(content)[1][:2] == (11, 13)


@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_small_and_large_batches_are_read_alike(count):
    content = batch(10, 5, b"".join(map(record, range(count))), count, 0, count)
    assert in_columns(content) == one_by_one(content)
