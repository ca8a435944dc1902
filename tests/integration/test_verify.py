"""`longwatch verify` on a real broker: clean topics are proven, every planted fault is found, and doubt is said."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, make_live, produce_lines
from support.planting import Record, changed, doubled, dropped, planted, swapped, written

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PARTITIONS = 3


@pytest.fixture(scope="module")
def live(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """An hour with a burst, three lines without a header and a late one, read by a worker that was killed once."""
    lines = list(demo_frame((9, 10)).head(1500).select("entity", "line").iter_rows())
    for place in (100, 600, 1100):
        lines.insert(place, (lines[place][0], "no header in this line"))
    lines.insert(800, lines[10])
    topic = kafka.create_topic(PARTITIONS)
    produce_lines(kafka, topic, lines, PARTITIONS)
    pipeline = make_live(kafka, tmp_path_factory.mktemp("live"), topic)
    worker = pipeline.start("source.kafka.poll_records=5", until_end=False)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=4)
    worker.kill()
    worker.wait()
    pipeline.run()
    assert {alert.lifecycle for alert in pipeline.alerts()} == {"open", "update", "close"}
    return pipeline


def verify(live: Live, *settings: str) -> tuple[int, dict]:
    words = [str(LONGWATCH), "verify", str(live.config), "--json"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout or "{}")


def test_topics_of_a_killed_and_restarted_worker_are_proven(live):
    code, said = verify(live)
    assert (code, said["verdict"], said["reasons"], said["differences"]) == (0, "proven", [], [])
    assert said["records"] == 1504
    assert said["outputs"]["alert"]["checked"] == len(live.alerts()) > 20
    assert said["outputs"]["dead_letter"]["checked"] == 3
    assert said["outputs"]["late"]["checked"] == len(written(live, "late")) >= 1


def test_a_worker_that_was_stopped_with_open_windows_is_proven(live, tmp_path):
    """Its windows were not closed by silence, although a replay sees the log end there."""
    other = make_live(live.kafka, tmp_path, live.topic, {"windows": {"max_events": 200, "idle_timeout": "1h"}})
    other.run_until(1504)
    assert len(other.alerts()) > 5
    assert verify(other)[0] == 0


def test_a_running_worker_is_proven_up_to_its_commits(live, tmp_path):
    other = make_live(live.kafka, tmp_path, live.topic)
    worker = other.start("source.kafka.poll_records=5", until_end=False)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=4)
        code, said = verify(other)
    finally:
        worker.kill()
        worker.wait()
    assert (code, said["reasons"]) == (0, [])


def test_a_person_gets_a_short_report(live):
    done = subprocess.run([LONGWATCH, "verify", live.config], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0
    assert done.stdout.startswith("proven: ")
    assert f"replayed {live.topic}[0] from 0 to " in done.stdout
    assert len(done.stdout.splitlines()) < 20


FAULTS: list[tuple[str, Callable[[list[Record]], list[Record]]]] = [
    ("missing", lambda records: dropped(records, 11)),
    ("doubled", lambda records: doubled(records, 10)),
    ("changed", lambda records: changed(records, 7)),
    ("reordered", lambda records: swapped(records, 0)),
]


@pytest.mark.parametrize(("fault", "plant"), FAULTS, ids=[fault for fault, _ in FAULTS])
def test_a_planted_fault_is_found(live, fault, plant):
    code, said = verify(live, planted(live, plant(written(live))))
    assert (code, said["verdict"]) == (1, "differs")
    assert said["outputs"]["alert"][fault] >= 1
    assert {each["fault"] for each in said["differences"]} == {fault}


def test_a_changed_field_is_named(live):
    said = verify(live, planted(live, changed(written(live), 7)))[1]
    assert said["differences"][0]["detail"].startswith("entity: '")


@pytest.mark.parametrize("output", ["dlq", "late"])
def test_a_lost_letter_is_found(live, output):
    code, said = verify(live, planted(live, written(live, output)[1:], output))
    assert code == 1
    assert [each["fault"] for each in said["differences"]] == ["missing"]


def test_alerts_of_another_configuration_are_not_judged(live):
    code, said = verify(live, "windows.max_events=150")
    assert (code, said["verdict"], said["differences"]) == (2, "unchecked", [])
    assert "verify with what the worker ran" in said["reasons"][0]


def test_alerts_of_an_earlier_model_are_not_judged(live):
    alerts = written(live)
    for place in (3, 4):
        alert = msgspec.json.decode(alerts[place].value, type=Alert)
        older = msgspec.structs.replace(alert, digests=msgspec.structs.replace(alert.digests, bundle="0" * 64))
        alerts[place] = replace(alerts[place], value=older.encode())
    code, said = verify(live, planted(live, alerts))
    assert code == 2
    assert "2 alerts were made with bundle 0000" in said["reasons"][0]


def test_a_log_that_retention_has_cut_cannot_be_checked(live, kafka, tmp_path):
    topic = kafka.create_topic()
    produce_lines(kafka, topic, [("k", "2026-11-02T09:00:06.000Z INFO vpn-01 sshd: hello")] * 10, 1)
    other = make_live(kafka, tmp_path, topic)
    other.run()
    cut(kafka, topic, 5)
    code, said = verify(other)
    assert code == 2
    assert said["reasons"] == [f"{topic}[0]@0: the log begins at 5, retention cut what was before"]


def test_a_topic_that_was_made_again_cannot_be_checked(live, kafka, tmp_path):
    lines = list(demo_frame((9, 10)).head(700).select("entity", "line").iter_rows())
    topic = kafka.create_topic()
    produce_lines(kafka, topic, lines, 1)
    other = make_live(kafka, tmp_path, topic)
    other.run()
    assert other.alerts()
    kafka.delete_topic(topic)
    kafka.create_topic(name=topic)
    produce_lines(kafka, topic, lines, 1)
    other.run()
    code, said = verify(other)
    assert code == 2
    assert "re-created" in said["reasons"][0]


def test_what_was_never_run_cannot_be_checked(live, kafka, tmp_path):
    other = make_live(kafka, tmp_path, live.topic)
    code, said = verify(other, *(f"sink.kafka.{name}={live.outputs}.{at}" for name, at in OUTPUTS))
    assert code == 2
    assert "has committed nothing" in said["reasons"][0]


def test_a_broker_that_is_not_there_is_a_reason_and_no_traceback(live):
    code, said = verify(live, 'source.kafka.bootstrap_servers=["127.0.0.1:1"]')
    assert code == 2
    assert "127.0.0.1:1" in said["reasons"][0]


OUTPUTS = (("alerts", "alerts"), ("dead_letters", "dlq"), ("late", "late"))


def cut(kafka: KafkaForTests, topic: str, before: int) -> None:
    """Delete the records below an offset, as retention would."""
    from kafka import TopicPartition

    with kafka.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): before})


def test_without_topics_there_is_nothing_to_verify(tmp_path: Path):
    done = subprocess.run([LONGWATCH, "init", tmp_path], capture_output=True, text=True, check=True)
    done = subprocess.run([LONGWATCH, "verify", tmp_path / "pipeline.yaml"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no source.kafka" in done.stderr
