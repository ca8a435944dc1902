"""A broker that takes no alerts pauses the worker: it holds no more for it, drops nothing, and goes on after it."""

import random
import signal
import time

import pytest

from chaos.peak import peak_mib
from longwatch.pipeline.kafka_client import ConfigResource
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import Live, make_live

pytestmark = pytest.mark.broker

REFUSED_S = 8
MORE_MIB = 40
NOISE = 1000
"""Random bytes of a bad line, so that all that waits in the topic is more than may be held."""


def lines() -> list[bytes]:
    """Every one a dead letter or an event of a window that alerts: much to write for each poll."""
    good = demo_frame((8, 14))["line"].head(2_000).to_list()
    draw = random.Random(5)
    # Nothing that compresses well, or a batch of letters would fit through.
    noise = [b"bad " + draw.randbytes(NOISE).hex().encode() for _ in good[::3]]
    return [line.encode() if place % 3 else noise[place // 3] for place, line in enumerate(good)]


def allow(kafka: KafkaForTests, live: Live, size: int) -> None:
    """The largest batch that the topic of dead letters takes from now on."""
    with kafka.admin() as admin:
        admin.alter_configs([ConfigResource("TOPIC", f"{live.outputs}.dlq", {"max.message.bytes": str(size)})])


def everything(live: Live) -> list[tuple[object, ...]]:
    messages = [
        (alert.alert_id, alert.revision, alert.lifecycle, alert.source.trigger_offset, round(alert.score, 3))
        for alert in live.alerts()
    ]
    letters = [(letter.value, sorted(letter.headers)) for letter in live.kafka.read(f"{live.outputs}.dlq")]
    return sorted([*messages, *letters], key=repr)


def until(live: Live, condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, live.log.read_text()[-3000:]
        time.sleep(0.1)


def test_a_sink_that_refuses_pauses_the_worker_in_bounded_memory_and_nothing_is_dropped(kafka: KafkaForTests, tmp_path):
    topic = kafka.create_topic()
    now_ms = time.time_ns() // 1_000_000
    kafka.produce(topic, [(b"k", line, now_ms) for line in lines()])
    calm, paused = (make_live(kafka, tmp_path / name, topic) for name in ("calm", "paused"))
    calm.run()

    # One letter a commit: kafka-python 3.0.12 splits a larger batch that is refused, loses count of its records, and
    # the worker leaves with 75 after half a minute.
    settings = ("source.kafka.poll_records=3", "sink.kafka.commit_interval=1ms")
    worker = paused.start(*settings)
    try:
        until(paused, lambda: paused.committed_records() > 0)
        allow(kafka, paused, 500)
        until(paused, lambda: b"commit_aborted" in paused.log.read_bytes())
        before, held = paused.committed_records(), peak_mib(worker.pid)
        end = time.monotonic() + REFUSED_S
        while time.monotonic() < end:
            assert worker.poll() is None, paused.log.read_text()[-3000:]
            assert peak_mib(worker.pid) < held + MORE_MIB
            time.sleep(0.2)
        assert paused.committed_records() == before < len(lines())
        allow(kafka, paused, 1 << 20)
        if worker.wait(timeout=120) == 75:
            worker = paused.start(*settings)
        assert worker.wait(timeout=120) == 0, paused.log.read_text()[-3000:]
    finally:
        allow(kafka, paused, 1 << 20)
        if worker.poll() is None:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
    assert b"commit_aborted" in paused.log.read_bytes()
    assert everything(paused) == everything(calm)
    assert len(paused.alerts()) > 20
