from datetime import UTC, datetime

import pytest

from support.records import decoder_of, reasons, records

ARRIVAL_MS = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1000)


def decode(kind, *values, arrival_ms=ARRIVAL_MS, entity="host", **settings):
    return decoder_of({kind: settings}, {"field": entity}).decode(records(values, arrival_ms))


def utc(events):
    return [datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") for ms in events["event_time_ms"]]


@pytest.mark.parametrize(
    ("value", "time", "host", "message"),
    [
        (
            b"<34>1 2003-10-11T22:14:15.003Z h su - ID47 - \xef\xbb\xbf'su root'",
            "2003-10-11T22:14:15.003",
            "h",
            "su: 'su root'",
        ),
        (
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 p 8 - - It's",
            "2003-08-24T12:14:15.000",
            "192.0.2.1",
            "p: It's",
        ),
        (b'<165>1 2003-10-11T22:14:15Z h p - I [a@1 k="v\\"]\\\\" l=""][b] m', "2003-10-11T22:14:15.000", "h", "p: m"),
        (b'<0>1 2003-10-11T22:14:15Z h p - - [a@1 k="v"]', "2003-10-11T22:14:15.000", "h", "p: "),
        (b"<191>1 - h p - - - two\nlines", "2026-11-24T12:00:00.000", "h", "p: two\nlines"),
    ],
)
def test_rfc_5424_messages_are_read(value, time, host, message):
    events = decode("rfc5424", value).events
    assert utc(events) == [time + "+00:00"]
    assert events.select("entity", "message").rows() == [(host, message)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"<192>1 2003-10-11T22:14:15Z h p - - - m", "header_mismatch"),
        (b"<34> 2003-10-11T22:14:15Z h p - - - m", "header_mismatch"),
        (b'<34>1 2003-10-11T22:14:15Z h p - - [a k="v] m', "header_mismatch"),
        (b"<34>1 2003-10-11T22:14:15Z h p - -", "header_mismatch"),
        (b"<34>1 2003-10-11T24:14:15Z h p - - - m", "timestamp_invalid"),
        (b"<34>1 2003-10-11T22:14:15Z - p - - - m", "entity_missing"),
    ],
)
def test_what_is_not_rfc_5424_is_rejected(value, reason):
    assert reasons(decode("rfc5424", value)) == {0: reason}


def test_an_rfc_5424_message_without_a_time_needs_an_arrival_time():
    assert reasons(decode("rfc5424", b"<1>1 - h p - - - m", arrival_ms=-1)) == {0: "timestamp_invalid"}


@pytest.mark.parametrize(
    ("value", "time", "message"),
    [
        (b"<34>Nov 11 22:14:15 h su: 'su root' failed", "2026-11-11T22:14:15", "su: 'su root' failed"),
        (b"Nov  1 22:14:15 h sshd(pam_unix)[12]: check pass", "2026-11-01T22:14:15", "sshd(pam_unix): check pass"),
        (b"Dec 31 23:59:59 h kernel: up", "2025-12-31T23:59:59", "kernel: up"),
        (b"Feb 29 22:14:15 h kernel: leap", "2024-02-29T22:14:15", "kernel: leap"),
        (b"Nov 11 22:14:15 h last message repeated", "2026-11-11T22:14:15", ": last message repeated"),
    ],
)
def test_rfc_3164_messages_are_read_with_the_year_of_their_arrival(value, time, message):
    events = decode("rfc3164", value).events
    assert utc(events) == [time + ".000+00:00"]
    assert events.select("entity", "message").rows() == [("h", message)]


def test_rfc_3164_times_are_in_the_configured_zone():
    events = decode("rfc3164", b"Nov 11 22:14:15 h kernel: up", timezone="America/New_York").events
    assert utc(events) == ["2026-11-12T03:14:15.000+00:00"]


def test_rfc_3164_fields_can_be_the_entity():
    assert decode("rfc3164", b"Nov 11 22:14:15 h sshd[12]: m", entity="procid").events["entity"].to_list() == ["12"]
    assert reasons(decode("rfc3164", b"Nov 11 22:14:15 h sshd: m", entity="procid")) == {0: "entity_missing"}
