import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.decode.fields import FieldTemplate
from longwatch.pipeline.decode.jsonl import JsonReader
from longwatch.pipeline.decode.otel import otel_reader
from longwatch.pipeline.decode.timestamps import TimestampReader
from support.records import decoder_of, reasons, records

JSON = {"json": {"timestamp": {"field": "time.at", "format": "epoch_ms"}, "message": "{level} {log.msg}"}}
GOOD = b'{"time":{"at":1700000000000},"level":"WARN","log":{"msg":"full"},"res":{"host":"a"}}'


def decode(*values, entity="res.host", **changed):
    settings = {"json": {**JSON["json"], **changed}}
    return decoder_of(settings, {"field": entity}).decode(records(values))


def test_fields_are_reached_by_dotted_paths():
    event = decode(GOOD).events.row(0, named=True)
    assert (event["event_time_ms"], event["message"], event["entity"]) == (1_700_000_000_000, "WARN full", "a")


def test_a_key_that_itself_holds_points_is_found_too():
    value = b'{"time.at":1700000000000,"log.msg":"full","res":{"host.name":"a"}}'
    events = decode(value, entity="res.host.name").events
    assert events.select("message", "entity").row(0) == (" full", "a")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("12", "12"),
        ("1.5", "1.5"),
        ("true", "true"),
        ('["a",1]', '["a",1]'),
        ('{"b":"c"}', '{"b":"c"}'),
        ('"\\u00e9"', "é"),
    ],
)
def test_fields_that_are_no_strings_are_shown_as_json(field, text):
    value = f'{{"time":{{"at":1}},"log":{{"msg":{field}}},"res":{{"host":"a"}}}}'.encode()
    assert decode(value).events["message"].to_list() == [f" {text}"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "json_invalid"),
        (GOOD + b"}", "json_invalid"),
        (b"[1]", "json_invalid"),
        (b"7", "json_invalid"),
        (b"[" * 200_000, "json_invalid"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "json_invalid"),
        (b'{"a":"\\ud800"}', "json_invalid"),
        (b'{"level":"WARN","log":{"msg":"full"}}', "field_missing"),
        (b'{"time":{"at":null},"log":{"msg":"full"}}', "field_missing"),
        (b'{"time":{"at":1},"log":"flat","level":null}', "field_missing"),
        (b'{"time":{"at":0},"log":{"msg":"full"}}', "field_missing"),
        (b'{"time":{"at":"noon"},"log":{"msg":"full"}}', "timestamp_invalid"),
        (b'{"time":{"at":[1]},"log":{"msg":"full"}}', "timestamp_invalid"),
        (b'{"time":{"at":1},"log":{"msg":"full"}}', "entity_missing"),
        (b'{"time":{"at":1},"log":{"msg":"full"},"res":{"host":""}}', "entity_missing"),
    ],
)
def test_a_broken_record_is_rejected_with_its_reason_and_its_neighbours_are_read(value, reason):
    decoded = decode(GOOD, value, GOOD)
    assert decoded.events["offset"].to_list() == [0, 2]
    assert reasons(decoded) == {1: reason}


def test_bad_bytes_inside_a_string_are_replaced():
    assert decode(GOOD.replace(b"full", b"f\xffll")).events["message"].to_list() == [
        "WARN f\N{REPLACEMENT CHARACTER}ll"
    ]


def test_braces_in_a_message_template_are_written_twice():
    assert decode(GOOD, message="{{{level}}} end").events["message"].to_list() == ["{WARN} end"]


NAMES = st.sampled_from(["t", "u", "a", "a.b", "b", "body", "timeUnixNano", "resourceLogs"])
ODD = [
    b"1e999",
    b"NaN",
    b"123456789012345678901234567890",
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"0"',
    b"-0",
    b"1.50",
    b"nul",
]
VALUES = st.recursive(
    st.sampled_from(ODD)
    | (st.none() | st.booleans() | st.text(max_size=4)).map(lambda each: json.dumps(each).encode()),
    lambda inner: st.lists(st.tuples(NAMES, inner), max_size=3).map(lambda pairs: written(pairs)),
    max_leaves=4,
)


def written(pairs: list[tuple[str, bytes]]) -> bytes:
    """An object with these keys, the same one several times if need be."""
    return b"{" + b",".join(b"%s:%s" % (json.dumps(name).encode(), value) for name, value in pairs) + b"}"


PLAIN = written(
    [("t", b'"2023-11-14T22:13:20Z"'), ("a", b'"x"'), ("b", b"1"), ("timeUnixNano", b'"7"'), ("body", b'"y"')]
)
LINES = st.one_of(
    st.just(PLAIN.decode()),
    st.lists(st.tuples(NAMES, VALUES), max_size=5).map(lambda pairs: written([("t", b'"5"'), *pairs]).decode()),
    st.sampled_from([None, "", "7", "[1]", PLAIN.decode() + "}", PLAIN.decode() * 2, "[" * 2000]),
)
READERS = [
    JsonReader(FieldTemplate("{a} {a.b}"), ("t", "u"), TimestampReader("iso8601"), "b"),
    JsonReader(FieldTemplate("{a.b}"), ("t",), TimestampReader("epoch_ms"), "a.b"),
    JsonReader(FieldTemplate("always"), ("u", "t"), TimestampReader("epoch_ms")),
    otel_reader("{body}", "b"),
]


@pytest.mark.parametrize("reader", READERS)
@settings(deadline=None)
@given(lines=st.lists(LINES, max_size=4))
def test_records_read_at_once_are_what_each_alone_would_be(reader, lines):
    alone = [reader._row(line) if line is not None else (None,) * 5 for line in lines]
    assert [tuple(row) for row in zip(*reader._piece(lines), strict=True)] == alone


def test_ordinary_records_are_read_at_once_and_an_odd_one_is_not():
    assert READERS[0]._at_once([PLAIN.decode()] * 3) == (["2023-11-14T22:13:20Z"] * 3, ["x "] * 3, ["1"] * 3)
    assert READERS[0]._at_once([PLAIN.decode(), "{}"]) is None
