import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.config import Entity, Format
from longwatch.pipeline.decode import Decoded, decoder_for
from longwatch.pipeline.errors import ConfigError
from longwatch.pipeline.records import EVENT_SCHEMA, RECORD_SCHEMA, REJECT_SCHEMA
from support.records import ARRIVAL_MS, decoder_of, reasons, records

TEXT = {
    "header": r"(?P<time>\S+) (?P<level>[A-Z]+) (?P<message>.*)",
    "timestamp": {"format": "iso8601", "from": "{time}"},
}
LINE = b"2023-11-14T22:13:20Z INFO job blk_7 done"
FORMATS = {
    "text": {"text": TEXT},
    "json": {"json": {"timestamp": {"field": "t"}, "message": "{level} {msg}"}},
    "otel": {"otel": {}},
    "rfc5424": {"rfc5424": {}},
    "rfc3164": {"rfc3164": {}},
}
GOOD = {
    "text": LINE,
    "json": b'{"t":"2023-11-14T22:13:20Z","level":"INFO","msg":"job blk_7 done"}',
    "otel": b'{"timeUnixNano":"1700000000000000000","body":{"stringValue":"job blk_7 done"}}',
    "rfc5424": b"<34>1 2023-11-14T22:13:20Z h app - - - job blk_7 done",
    "rfc3164": b"<34>Nov 14 22:13:20 h app[1]: job blk_7 done",
}


def decoder(kind="text", entity=None, **limits):
    entity = entity or {"pattern": r"(?P<entity>blk_\d+)"}
    return decoder_of({**FORMATS[kind], **limits}, entity)


def test_an_event_has_its_time_entity_message_and_line():
    decoded = decoder().decode(records([LINE]))
    assert decoded.rejected.is_empty()
    assert decoded.events.row(0, named=True) == {
        "offset": 0,
        "timestamp_ms": ARRIVAL_MS,
        "event_time_ms": ARRIVAL_MS,
        "entity": "blk_7",
        "message": "job blk_7 done",
        "line": LINE.decode(),
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_reads_its_own_line(kind):
    decoded = decoder(kind).decode(records([GOOD[kind]]))
    assert decoded.rejected.is_empty()
    assert decoded.events["event_time_ms"].to_list() == [ARRIVAL_MS]
    assert decoded.events["entity"].to_list() == ["blk_7"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty_record"),
        (b"", "empty_record"),
        (b" \t\r\n", "empty_record"),
        (b"\xff\xfe\xff", "not_utf8"),
        (b"x" * 101, "too_large"),
        (b"no header here", "header_mismatch"),
        (b"\x00\x01\x02", "header_mismatch"),
        (b"yesterday INFO blk_1", "timestamp_invalid"),
        (b"9999-12-31T23:59:59Z INFO blk_1", "timestamp_in_future"),
        (b"2023-11-14T22:13:20Z INFO nobody", "entity_missing"),
    ],
)
def test_a_bad_record_is_rejected_once_with_its_reason_beside_good_ones(value, reason):
    decoded = decoder(max_bytes="100B").decode(records([LINE, value, LINE]))
    assert decoded.events["offset"].to_list() == [0, 2]
    assert reasons(decoded) == {1: reason}
    assert decoded.rejected["detail"][0]


def test_bad_bytes_inside_a_readable_line_are_replaced_and_the_line_is_kept():
    decoded = decoder().decode(records([LINE.replace(b"job", b"j\xffb"), LINE]))
    assert decoded.events["message"].to_list() == ["j\N{REPLACEMENT CHARACTER}b blk_7 done", "job blk_7 done"]


def test_a_nul_inside_a_message_is_kept():
    decoded = decoder().decode(records([LINE.replace(b"job", b"j\0b")]))
    assert decoded.events["message"].to_list() == ["j\0b blk_7 done"]


def test_a_line_is_shown_with_at_most_1024_characters_and_the_message_is_whole():
    long_line = LINE + b" " + b"x" * 5000
    events = decoder().decode(records([long_line])).events
    assert events["line"].str.len_chars().to_list() == [1024]
    assert len(events["message"][0]) == len("job blk_7 done") + 5001


def test_a_line_of_16_mib_is_read_where_max_bytes_lets_it():
    value = LINE + b"y" * (16 << 20)
    decoded = decoder(max_bytes="17MiB").decode(records([value]))
    assert decoded.events["message"].str.len_bytes().to_list() == [len(value) - len("2023-11-14T22:13:20Z INFO ")]


def test_line_ends_and_a_byte_order_mark_are_taken_off():
    events = decoder().decode(records([b"\xef\xbb\xbf" + LINE + b"\r\n"])).events
    assert events["line"].to_list() == [LINE.decode()]


def test_the_message_of_a_record_of_several_lines_holds_them_all():
    assert decoder().decode(records([LINE + b"\n  at main"])).events["message"].to_list() == [
        "job blk_7 done\n  at main"
    ]


def test_the_future_is_measured_from_the_arrival_and_not_at_all_without_one():
    late = b"2023-11-16T00:00:00Z INFO blk_1"
    assert reasons(decoder(max_future="1d").decode(records([late]))) == {0: "timestamp_in_future"}
    assert not reasons(decoder(max_future="2d").decode(records([late])))
    assert not reasons(decoder(max_future="1d").decode(records([late], arrival_ms=-1)))


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        ({"from": "key"}, "k\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ({"group": "level"}, "INFO"),
        ({"pattern": r"(?P<entity>job)"}, "job"),
        ({"pattern": r"^(?P<entity>\d+)", "in": "line"}, "2023"),
        ({"pattern": r"(job) (?P<entity>\w+)"}, "blk_7"),
    ],
)
def test_the_entity_comes_from_where_the_configuration_says(entity, expected):
    events = (
        decoder(entity=entity).decode(records([LINE], keys=["k\N{LATIN SMALL LETTER E WITH ACUTE}".encode()])).events
    )
    assert events["entity"].to_list() == [expected]


@pytest.mark.parametrize("key", [None, b"", b"k" * 1025])
def test_a_missing_empty_or_endless_key_is_no_entity(key):
    assert reasons(decoder(entity={"from": "key"}).decode(records([LINE], keys=[key]))) == {0: "entity_missing"}


def test_no_records_give_no_events_in_the_promised_columns():
    decoded = decoder().decode(RECORD_SCHEMA.to_frame())
    assert decoded.events.schema == EVENT_SCHEMA
    assert decoded.rejected.schema == REJECT_SCHEMA


def test_a_format_that_cannot_be_read_is_a_configuration_error():
    with pytest.raises(ConfigError, match="no group nobody; its groups are time, level, message"):
        decoder_for(Format.model_validate({"text": TEXT}), Entity.model_validate({"group": "nobody"}))


PIECES = st.sampled_from(
    [b"2023-11-14T22:13:20Z ", b"INFO ", b"blk_1", b'{"t":', b'"', b"}", b"\xff", b"\0", b"\n", b"\r", b"[", b":", b" "]
)
MUTATED = st.sampled_from(sorted(GOOD.values())).flatmap(
    lambda line: st.tuples(st.integers(0, len(line)), st.binary(max_size=3)).map(
        lambda change: line[: change[0]] + change[1] + line[change[0] + 1 :]
    )
)
VALUES = st.lists(
    st.one_of(
        st.none(),
        st.binary(max_size=60),
        st.lists(PIECES, max_size=8).map(b"".join),
        st.sampled_from(sorted(GOOD.values())),
        MUTATED,
    ),
    max_size=8,
)


def tagged(decoded: Decoded):
    """Every row of the result by its offset."""
    return {row[0]: row for frame in (decoded.events, decoded.rejected) for row in frame.iter_rows()}


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=30, deadline=None)
@given(values=VALUES, cut=st.integers(0, 8))
def test_any_bytes_are_decoded_or_rejected_exactly_once_whatever_lies_beside_them(kind, values, cut):
    reader, frame = decoder(kind), records(values)
    whole = reader.decode(frame)
    offsets = whole.events["offset"].to_list() + whole.rejected["offset"].to_list()
    assert sorted(offsets) == list(range(len(values)))
    assert whole.events["offset"].is_sorted()
    assert whole.rejected["offset"].is_sorted()
    assert whole.events.null_count().sum_horizontal().sum() == 0
    assert tagged(whole) == tagged(reader.decode(frame[:cut])) | tagged(reader.decode(frame[cut:]))
    assert tagged(whole) == {
        k: v for row in range(len(values)) for k, v in tagged(reader.decode(frame[row : row + 1])).items()
    }
