import pytest

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
