import json

import pytest

from support.records import decoder_of, reasons, records

RECORD = {
    "timeUnixNano": "1700000000123999999",
    "severityText": "ERROR",
    "body": {"stringValue": "disk full"},
    "attributes": [{"key": "http.route", "value": {"stringValue": "/a"}}, {"key": "n", "value": {"intValue": "3"}}],
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]},
}


def decode(record, entity="resource.service.name", message="{body}"):
    return decoder_of({"otel": {"message": message}}, {"field": entity}).decode(records([json.dumps(record).encode()]))


def envelope(*found):
    scope = {"scopeLogs": [{"scope": {"name": "lib"}, "logRecords": list(found)}]}
    return {"resourceLogs": [{"resource": RECORD["resource"], **scope}]}


def test_a_log_record_gives_time_body_and_resource():
    event = decode(RECORD).events.row(0, named=True)
    assert (event["event_time_ms"], event["message"], event["entity"]) == (1_700_000_000_123, "disk full", "cart")


def test_an_envelope_of_one_record_reads_like_the_record():
    bare = {key: value for key, value in RECORD.items() if key != "resource"}
    columns = ["event_time_ms", "message", "entity"]
    assert decode(envelope(bare)).events.select(columns).rows() == decode(RECORD).events.select(columns).rows()
    assert decode(envelope(bare), entity="scope.name").events["entity"].to_list() == ["lib"]


@pytest.mark.parametrize("count", [0, 2])
def test_an_envelope_of_none_or_several_is_rejected_and_says_what_to_do(count):
    decoded = decode(envelope(*[RECORD] * count))
    assert reasons(decoded) == {0: "json_invalid"}
    assert f"{count} log records" in decoded.rejected["detail"][0]


@pytest.mark.parametrize("time", ["0", 0, None])
def test_the_observed_time_stands_in_for_a_time_that_is_unknown(time):
    record = {**RECORD, "timeUnixNano": time, "observedTimeUnixNano": 1_700_000_001_000_000_000}
    assert decode(record).events["event_time_ms"].to_list() == [1_700_000_001_000]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("plain", "plain"),
        ({"intValue": "5"}, "5"),
        ({"boolValue": False}, "false"),
        ({"doubleValue": 0.5}, "0.5"),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": 1}]}}, '["a",1]'),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "v"}}]}}, '{"k":"v"}'),
    ],
)
def test_every_kind_of_body_becomes_text(body, text):
    assert decode({**RECORD, "body": body}).events["message"].to_list() == [text]


def test_attributes_and_severity_can_be_named():
    decoded = decode(RECORD, entity="attributes.http.route", message="{severityText} {attributes.n}")
    assert decoded.events.select("entity", "message").rows() == [("/a", "ERROR 3")]


@pytest.mark.parametrize(
    "record",
    [
        {"resourceLogs": 3},
        {"resourceLogs": [3, {"scopeLogs": {"logRecords": 1}}]},
        envelope("text"),
        {**RECORD, "body": {"arrayValue": 3}, "attributes": [1, {"key": 2}], "resource": []},
        {**RECORD, "body": None},
        {"body": "no time"},
    ],
)
def test_what_has_the_wrong_shape_is_rejected_or_read_without_it(record):
    decoded = decode(record)
    assert len(decoded.events) == 0
    assert set(reasons(decoded).values()) <= {"json_invalid", "field_missing", "entity_missing"}
