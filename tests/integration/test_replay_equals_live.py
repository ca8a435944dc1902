"""Promise 2: replaying the same records gives the live run's alerts, whatever the polls, restarts and source."""

import random
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from longwatch.pipeline.alerts import Alert
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, make_live, produce_lines, wait_until

pytestmark = pytest.mark.broker

PARTITIONS = 3


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    """(host, line) of an hour with a burst."""
    frame = demo_frame((9, 10)).head(1500)
    return list(frame.select("entity", "line").iter_rows())


@pytest.fixture(scope="module")
def live(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory, lines) -> Live:
    topic = kafka.create_topic(PARTITIONS)
    produce_lines(kafka, topic, lines, PARTITIONS)
    pipeline = make_live(kafka, tmp_path_factory.mktemp("live"), topic)
    pipeline.run()
    return pipeline


@pytest.fixture(scope="module")
def expected(live) -> list[Alert]:
    alerts = live.alerts()
    assert {alert.lifecycle for alert in alerts} == {"open", "update", "close"}
    return alerts


@pytest.mark.parametrize(("poll_records", "columns"), [(1, "false"), (500, "true"), (5000, "true"), (5000, "false")])
def test_live_alerts_do_not_depend_on_the_poll_size_nor_on_how_it_is_read(
    live, expected, tmp_path, poll_records, columns
):
    other = make_live(live.kafka, tmp_path, live.topic)
    other.run(f"source.kafka.poll_records={poll_records}", f"source.kafka.columns={columns}")
    assert_same(messages_of(other.alerts()), messages_of(expected))


def test_live_alerts_do_not_depend_on_restarts(live, expected, tmp_path):
    """Three workers in a row are told to stop at random moments; the fourth reads to the end."""
    other = make_live(live.kafka, tmp_path, live.topic)
    draw = random.Random(11)
    begun = 0
    for _ in range(3):
        worker = other.start("source.kafka.poll_records=5", until_end=False)
        wait_until(lambda before=begun: times_started(other) > before, other)
        assert still_running(worker, draw.uniform(0.5, 2))
        worker.terminate()
        assert worker.wait(timeout=30) == 0
        begun = times_started(other)
    other.run()
    assert_same(messages_of(other.alerts()), messages_of(expected))


def test_live_alerts_do_not_depend_on_who_reads_which_partition(live, expected, tmp_path):
    """A second worker joins, the first leaves, the second is killed, and a third reads to the end."""
    other = make_live(live.kafka, tmp_path, live.topic)
    slow = [
        f"source.kafka.client.{name}_ms={ms}" for name, ms in (("session_timeout", 6000), ("heartbeat_interval", 500))
    ]
    first = other.start("source.kafka.poll_records=2", *slow, until_end=False, instance=None)
    assert still_running(first, 3)
    second = other.start("source.kafka.poll_records=2", *slow, until_end=False, instance=None)
    deadline = time.monotonic() + 30
    while b"event=resumed" not in other.log.read_bytes():
        assert still_running(second, 0.2)
        assert time.monotonic() < deadline, "the second worker got no partition"
    assert still_running(first, 2)
    first.terminate()
    assert first.wait(timeout=30) == 0
    assert still_running(second, 3)
    second.kill()
    second.wait()
    other.run(*slow, instance=None)
    assert_same(messages_of(other.alerts()), messages_of(expected))


def test_backtest_over_the_topic_gives_the_live_alerts(live, expected, tmp_path):
    assert_same(backtest(live, tmp_path / "topic"), messages_of(expected))


def test_backtest_over_a_file_gives_the_live_alerts(live, expected, lines, tmp_path):
    """The file's lines are numbered as the topic holds them: same keys, same partitioner, same topic id."""
    log = tmp_path / "history.log"
    log.write_text("".join(f"{line}\n" for _, line in lines))
    assert_same(backtest(live, tmp_path / "file", str(log)), messages_of(expected))


def times_started(live: Live) -> int:
    return live.log.read_bytes().count(b"event=started")


def still_running(worker: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Lets a worker work for a while; False if it left meanwhile."""
    try:
        worker.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def backtest(live: Live, out: Path, *files: str) -> dict[tuple[object, ...], float]:
    words = [LONGWATCH, "backtest", live.config, *files, "--out", out]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    columns = ("alert_id", "revision", "lifecycle", "trigger_offset", "score")
    return {row[:-1]: row[-1] for row in pl.read_parquet(out / "alerts.parquet").select(columns).iter_rows()}


def messages_of(alerts: list[Alert]) -> dict[tuple[object, ...], float]:
    """Score of each alert message; a message committed twice would be one entry too few."""
    found = {(a.alert_id, a.revision, a.lifecycle, a.source.trigger_offset): a.score for a in alerts}
    assert len(found) == len(alerts)
    return found


def assert_same(found: dict[tuple[object, ...], float], expected: dict[tuple[object, ...], float]) -> None:
    assert sorted(found) == sorted(expected)
    assert max(abs(score - expected[key]) for key, score in found.items()) <= 1e-4
