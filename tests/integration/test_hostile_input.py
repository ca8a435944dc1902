"""Promise 3: no input stops the stream; each bad record is a dead letter once, its neighbours are scored as ever."""

import os
import time

import pytest

from longwatch.pipeline.alerts import Alert
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import make_live

pytestmark = pytest.mark.broker

MIB = 1 << 20
ODD = b" INFO vpn-01 sshd: caf\xe9 \xff\xfe in the name"
HOSTILE: dict[str, tuple[bytes | None, str]] = {
    "random bytes": (os.urandom(300), "header_mismatch"),
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
    mixed: list[bytes | None] = list(good)
    for place, (value, _) in zip(range(20, 600, 60), HOSTILE.values(), strict=False):
        mixed.insert(place, value)
    # Odd only: it arrives in its turn, and is scored.
    mixed.insert(590, str(mixed[589])[2:26].encode() + ODD)
    clean_topic, mixed_topic = (kafka.create_topic(max_message_bytes=str(20 * MIB)) for _ in range(2))
    big = {"max_request_size": 20 * MIB}
    # All of one moment: a slow producer's pause would count as silence of the partition.
    now_ms = time.time_ns() // 1_000_000
    kafka.produce(clean_topic, [(b"k", line, now_ms) for line in good], **big)
    kafka.produce(mixed_topic, [(b"k", line, now_ms) for line in mixed], **big)
    clean, dirty = (make_live(kafka, tmp_path / topic, topic) for topic in (clean_topic, mixed_topic))
    clean.run()
    dirty.run()

    letters = [dict(letter.headers) for letter in kafka.read(f"{dirty.outputs}.dlq")]
    reasons = {int(letter["longwatch.offset"]): letter["longwatch.reason"].decode() for letter in letters}
    assert len(reasons) == len(letters)
    assert reasons == {mixed.index(value): reason for value, reason in HOSTILE.values()}
    # The odd line was scored as vpn-01's; every other entity saw nothing of all this.
    assert {alert for alert in alerts_of(dirty) if alert[0] != "vpn-01"} == {
        alert for alert in alerts_of(clean) if alert[0] != "vpn-01"
    }
    assert kafka.read(f"{dirty.outputs}.late") == []
