"""Promise 1: ten kill -9 at random moments lose no alert and double none."""

import random
import subprocess

import pytest

from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import make_live, produce_lines

pytestmark = pytest.mark.broker

KILLS = 10
PARTITIONS = 3


def test_ten_kills_lose_nothing_and_double_nothing(kafka: KafkaForTests, tmp_path):
    lines = list(demo_frame((9, 10)).head(1500).select("entity", "line").iter_rows())
    for place in (100, 600, 1100):
        lines.insert(place, ("vpn-01", "no header in this line"))
    topic = kafka.create_topic(PARTITIONS)
    produce_lines(kafka, topic, lines, PARTITIONS)
    calm, shaken = (make_live(kafka, tmp_path / name, topic) for name in ("calm", "shaken"))
    calm.run()

    draw = random.Random(5)
    reached = []
    for _ in range(KILLS):
        worker = shaken.start("source.kafka.poll_records=1", until_end=False)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=draw.uniform(2, 5))
        worker.kill()
        worker.wait()
        reached.append(shaken.committed_records())
    assert len({count for count in reached if 0 < count < len(lines)}) >= 3, f"killed when done or not begun: {reached}"
    shaken.run()

    assert shaken.committed_outputs() == calm.committed_outputs()
    assert len(shaken.alerts()) > 20
