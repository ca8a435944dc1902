"""Dead letters and late events carry the original bytes, why, and where they came from."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.outputs import ORIGINAL_BYTES, Kind, originals, unreadable
from longwatch.pipeline.records import RECORD_SCHEMA, REJECT_SCHEMA, Partition, RecordBatch

LOGS = Partition("logs", "topic-uuid", 2)


def batch_of(values: list[bytes | None], first: int = 100) -> RecordBatch:
    count = len(values)
    keys = [None if at % 2 else f"key {at}".encode() for at in range(count)]
    columns = {"offset": range(first, first + count), "timestamp_ms": range(count), "key": keys, "value": values}
    return RecordBatch(LOGS, pl.DataFrame(columns, schema=RECORD_SCHEMA), first + count)


def reasons_of(offsets: list[int], detail: str = "why") -> pl.DataFrame:
    rows = [(offset, "not_utf8", detail) for offset in offsets]
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")


def test_the_original_key_bytes_reason_and_place_are_there():
    (output,) = originals(Kind.DEAD_LETTER, batch_of([b"good", b"good", b"\xff\xfe"]), reasons_of([102], "byte 0: é"))
    assert (output.kind, output.partition, output.trigger_offset) == (Kind.DEAD_LETTER, LOGS, 102)
    assert (output.key, output.value) == (b"key 2", b"\xff\xfe")
    assert {name: value.decode() for name, value in output.headers} == {
        "longwatch.reason": "not_utf8",
        "longwatch.detail": "byte 0: é",
        "longwatch.topic": "logs",
        "longwatch.topic_id": "topic-uuid",
        "longwatch.partition": "2",
        "longwatch.offset": "102",
        "longwatch.timestamp_ms": "2",
        "longwatch.original_bytes": "2",
        "longwatch.truncated": "false",
    }


@given(st.lists(st.sampled_from([None, b"", b"x", b"\x00" * 40]), min_size=1, max_size=12), st.data())
def test_one_output_for_each_reason_in_its_order_with_its_own_bytes(values, data):
    offsets = data.draw(st.lists(st.integers(100, 99 + len(values)), unique=True))
    places = [offset - 100 for offset in offsets]
    outputs = list(originals(Kind.LATE, batch_of(values), reasons_of(offsets)))
    assert [output.trigger_offset for output in outputs] == offsets
    assert [output.value for output in outputs] == [values[at] or b"" for at in places]
    assert [output.key for output in outputs] == [None if at % 2 else f"key {at}".encode() for at in places]


def test_originals_over_the_limit_are_cut_and_say_so_with_their_full_size():
    sizes = (ORIGINAL_BYTES - 1, ORIGINAL_BYTES, ORIGINAL_BYTES + 1, 3 * ORIGINAL_BYTES)
    values = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    outputs = list(originals(Kind.DEAD_LETTER, batch_of(values), reasons_of([100, 101, 102, 103])))
    for output, value, truncated in zip(outputs, values, (b"false", b"false", b"true", b"true"), strict=True):
        headers = dict(output.headers)
        assert output.value == value[:ORIGINAL_BYTES]
        assert headers["longwatch.truncated"] == truncated
        assert headers["longwatch.original_bytes"] == str(len(value)).encode()


def test_records_that_no_client_can_read_are_one_dead_letter_that_names_their_offsets():
    output = unreadable(LOGS, 7, 12, "CRC mismatch")
    headers = dict(output.headers)
    assert (output.kind, output.trigger_offset, output.key, output.value) == (Kind.DEAD_LETTER, 7, None, b"")
    assert headers["longwatch.reason"] == b"unreadable_records"
    assert headers["longwatch.detail"] == b"CRC mismatch"
    assert (headers["longwatch.offset"], headers["longwatch.next_offset"]) == (b"7", b"12")
