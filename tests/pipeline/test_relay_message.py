"""Nothing in the alerts topic stops the relay: what is no alert becomes a letter."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.relay.message import Letter, Message, Record, read_message
from support.alert_messages import TOPIC, alert, message


def changed(**fields: object) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(alert()) | fields)


def test_the_delivery_key_is_the_alert_id_and_the_revision():
    assert message(7, 3).delivery_key == f"{7:032x}-3"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not_an_alert"),
        (b"{}", "not_an_alert"),
        (b"[" * 100_000, "not_an_alert"),
        (b'{"alert_id": "\xff"}', "not_an_alert"),
        (changed(alert_id="a\r\nX-Evil: 1"), "not_an_alert"),
        (changed(alert_id="A" * 32), "not_an_alert"),
        (changed(revision=-1), "not_an_alert"),
        (changed(lifecycle="reopen"), "not_an_alert"),
        (changed(window=msgspec.to_builtins(alert().window) | {"start_time": "yesterday"}), "not_an_alert"),
        (changed(window=msgspec.to_builtins(alert().window) | {"end_time": "2020-01-01T00:00:00Z"}), "not_an_alert"),
        (changed(schema="longwatch.alert/2"), "unknown_schema"),
    ],
)
def test_what_is_no_alert_is_a_letter_with_a_reason(value: bytes, reason: str):
    found = read_message(Record(TOPIC, 5, None, value))
    assert isinstance(found, Letter)
    assert (found.reason, found.target) == (reason, "")


def test_an_alert_of_a_newer_minor_version_is_still_read():
    assert isinstance(read_message(Record(TOPIC, 0, None, changed(new_field=1))), Message)


@given(st.binary())
def test_no_bytes_break_it(value: bytes):
    read_message(Record(TOPIC, 0, None, value))


def test_a_letter_says_what_and_where_without_control_characters():
    letter = Letter(Record(TOPIC, 5, b"k", b"v"), "pager", "rejected", "said \x1b[31m\n" + "x" * 900, 3)
    headers = {name: value.decode() for name, value in letter.headers()}
    assert headers["longwatch.detail"].startswith("said \\x1b[31m\\x0ax")
    assert len(headers["longwatch.detail"]) == 500
    assert headers["longwatch.target"] == "pager"
    assert headers["longwatch.attempts"] == "3"
    assert (headers["longwatch.topic"], headers["longwatch.offset"]) == ("alerts", "5")
