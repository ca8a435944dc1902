"""Promise 1: ten kill -9 at random moments lose no alert and double none."""

import random
import subprocess

import pytest

from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import Live, make_live, produce_lines

pytestmark = pytest.mark.broker

KILLS = 10
PARTITIONS = 3


def committed(live: Live) -> list[tuple[object, ...]]:
    """Everything a read_committed reader sees of all three outputs, scores to 3 decimals."""
    alerts = [
        (a.alert_id, a.revision, a.lifecycle, a.source.trigger_offset, a.window, round(a.score, 3))
        for a in live.alerts()
    ]
    letters = [
        (name, record.key, record.value, sorted(record.headers))
        for name in ("dlq", "late")
        for record in live.kafka.read(f"{live.outputs}.{name}")
    ]
    return sorted([*alerts, *letters], key=repr)


def test_ten_kills_lose_nothing_and_double_nothing(kafka: KafkaForTests, tmp_path):
    lines = list(demo_frame((9, 10)).head(1500).select("entity", "line").iter_rows())
    for place in (100, 600, 1100):
        lines.insert(place, ("vpn-01", "no header in this line"))
    topic = kafka.create_topic(PARTITIONS)
    produce_lines(kafka, topic, lines, PARTITIONS)
    calm, shaken = (make_live(kafka, tmp_path / name, topic) for name in ("calm", "shaken"))
    calm.run()

    draw = random.Random(5)
    killed = 0
    while killed < KILLS:
        worker = shaken.start("source.kafka.poll_records=25", until_end=False)
        try:
            code = worker.wait(timeout=draw.uniform(1.5, 5))
            raise AssertionError(f"the worker left by itself, exit {code}")
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            killed += 1
    shaken.run()

    assert committed(shaken) == committed(calm)
    assert len(shaken.alerts()) > 20
