"""Promise 3: no input byte sequence stops the stream; each bad record is a dead letter once, its neighbours unchanged."""

import os

import pytest

from longwatch.pipeline.alerts import Alert
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import make_live

pytestmark = pytest.mark.broker

MIB = 1 << 20
HOSTILE: dict[str, tuple[bytes | None, str | None]] = {
    "random bytes": (os.urandom(300), "header_mismatch"),
    "bad UTF-8": (b"2026-11-02T09:00:05.000Z INFO vpn-01 sshd: caf\xe9 \xff\xfe in the name", None),
    "16 MiB line": (b"2026-11-02T09:00:06.000Z INFO vpn-01 sshd: " + b"x" * (16 * MIB), "too_large"),
    "broken JSON": (b'{"time": "2026-11-02T09:00:06.000Z", "message": ', "header_mismatch"),
    "year 9999": (b"9999-11-02T09:00:06.000Z INFO vpn-01 sshd: from the far future", "timestamp_in_future"),
    "empty record": (b"", "empty_record"),
    "null record": (None, "empty_record"),
    "thirteenth month": (b"2026-13-45T99:00:06.000Z INFO vpn-01 sshd: no such day", "timestamp_invalid"),
}


def alerts_of(live) -> set[tuple[object, ...]]:
    """What neighbours amount to, without offsets, which the bad records shift."""
    return {essence(alert) for alert in live.alerts()}


def essence(alert: Alert) -> tuple[object, ...]:
    tops = tuple((top.line, top.template_id) for top in alert.top_events[:1])
    return (
        alert.entity,
        alert.lifecycle,
        alert.revision,
        alert.kind,
        alert.window.num_events,
        round(alert.score, 3),
        tops,
    )


@pytest.mark.timeout(600)
def test_every_hostile_record_is_a_dead_letter_once_and_its_neighbours_are_scored(kafka: KafkaForTests, tmp_path):
    good = [line.encode() for line in demo_frame((9, 10))["line"].head(600)]
    bad = [(name, value) for name, (value, _) in HOSTILE.items()]
    mixed: list[bytes | None] = list(good)
    for place, (_, value) in zip(range(20, 600, 60), bad, strict=False):
        mixed.insert(place, value)
    clean_topic, mixed_topic = (kafka.create_topic(max_message_bytes=str(20 * MIB)) for _ in range(2))
    big = {"max_request_size": 20 * MIB, "buffer_memory": 64 * MIB}
    kafka.produce(clean_topic, [(b"k", line, None) for line in good], **big)
    kafka.produce(mixed_topic, [(b"k", line, None) for line in mixed], **big)
    clean, dirty = (make_live(kafka, tmp_path / topic, topic) for topic in (clean_topic, mixed_topic))
    clean.run()
    dirty.run()

    letters = kafka.read(f"{dirty.outputs}.dlq")
    found = {
        dict(letter.headers)["longwatch.offset"]: dict(letter.headers)["longwatch.reason"].decode()
        for letter in letters
    }
    expected = {str(mixed.index(value)).encode(): reason for value, reason in HOSTILE.values() if reason is not None}
    assert len(letters) == len(expected)
    assert found == expected
    odd = "bad UTF-8"
    assert HOSTILE[odd][1] is None
    vpn = {alert for alert in alerts_of(clean) if alert[0] != "vpn-01"}
    assert {alert for alert in alerts_of(dirty) if alert[0] != "vpn-01"} == vpn
