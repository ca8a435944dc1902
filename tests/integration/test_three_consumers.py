"""Three consumers of a group, one of which comes late and one goes early, commit the alerts of one process."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import Live, end, make_live, produce_lines, wait_until

pytestmark = pytest.mark.broker

PARTITIONS = 6
SLOW = ["source.kafka.poll_records=5", "scorer.gather=0ms"]
QUICK_GROUP = ["source.kafka.client.session_timeout_ms=6000", "source.kafka.client.heartbeat_interval_ms=500"]


@pytest.fixture(scope="module")
def one(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """One process that has read the topic from start to end."""
    lines = list(demo_frame((9, 11)).head(4000).select("entity", "line").iter_rows())
    topic = kafka.create_topic(PARTITIONS)
    produce_lines(kafka, topic, lines, PARTITIONS)
    pipeline = make_live(kafka, tmp_path_factory.mktemp("one"), topic)
    pipeline.run()
    return pipeline


def test_three_consumers_of_a_group_commit_the_alerts_of_one_process(one, tmp_path):
    group = make_live(one.kafka, tmp_path, one.topic)
    with members(group) as start:
        first = start()
        wait_until(lambda: group.committed_records() > 0, group)
        second = start()
        wait_until(lambda: assigned(group) >= 2, group)
        late = start()
        wait_until(lambda: assigned(group) >= 3, group)
        first.terminate()
        assert first.wait(timeout=30) == 0
        assert group.committed_records() < one.committed_records(), "all was read before the group was three and two"
        wait_until(lambda: group.committed_records() == one.committed_records(), group, seconds=120)
        assert [worker.poll() for worker in (second, late)] == [None, None]
    group.run(*QUICK_GROUP, instance=None)
    assert messages(group) == messages(one)


@contextmanager
def members(group: Live) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts members without a name of their own; all are gone afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        started.append(group.start(*SLOW, *QUICK_GROUP, until_end=False, instance=None))
        return started[-1]

    try:
        yield start
        for worker in started:
            worker.terminate()
        for worker in started:
            assert worker.wait(timeout=30) == 0
    finally:
        for worker in started:
            end(worker)


def assigned(group: Live) -> int:
    """Members of the group that read some partition; 0 while it shares them out."""
    name = json.loads(group.config.read_text())["pipeline"]
    with group.kafka.admin() as admin:
        found = admin.describe_groups([name])[name]
    if found["group_state"] != "Stable":
        return 0
    return sum(bool(member["member_assignment"]["assigned_partitions"]) for member in found["members"])


def messages(live: Live) -> list[bytes]:
    """Every committed alert message, byte for byte but for who wrote it; one committed twice would stand twice."""
    alerts: list[Alert] = live.alerts()
    assert {alert.lifecycle for alert in alerts} == {"open", "update", "close"}
    return sorted(msgspec.structs.replace(alert, instance="").encode() for alert in alerts)
