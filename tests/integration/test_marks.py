"""A false-positive mark on a real broker: silent within a second, across kills, proven by verify and by a replay."""

import json
import subprocess
from typing import Any

import msgspec
import polars as pl
import pytest

from longwatch.pipeline.alerts import Alert
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, end, make_live, produce_lines, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PARTITIONS = 2
NUM, FIRST, SECOND = 3000, 1200, 2100
WITHIN_MS = 1000


def command(live: Live, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(LONGWATCH), *words], capture_output=True, text=True, check=False, timeout=240)
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return done


def topics(name: str) -> dict[str, Any]:
    return {"topic": f"{name}.marks", "suppressed": f"{name}.suppressed", "effects": f"{name}.effects"}


def like(chosen: Alert, alert: Alert) -> bool:
    same = (alert.rule, alert.kind) == (chosen.rule, chosen.kind)
    return same and set(alert.pattern) <= set(chosen.pattern) and alert.lifecycle != "close"


def commonest(alerts: list[Alert]) -> Alert:
    opened = [alert for alert in alerts if alert.lifecycle == "open"]
    return max(opened, key=lambda chosen: sum(like(chosen, alert) for alert in opened))


class Marked:
    """A pipeline whose worker was told of a false alarm, killed and started again, and what came of it."""

    def __init__(self, live: Live, name: str, chosen: Alert, mark: str) -> None:
        self.live, self.name, self.chosen, self.mark = live, name, chosen, mark

    def read(self, output: str) -> list[Any]:
        return self.live.kafka.read(f"{self.name}.{output}")

    @property
    def effects(self) -> dict[int, int]:
        """Where the mark took effect, by partition of the input."""
        found = [json.loads(record.value) for record in self.read("effects")]
        return {each["partition"]: each["offset"] for each in reversed(found)}

    @property
    def silenced(self) -> list[Alert]:
        return [msgspec.json.decode(record.value, type=Alert) for record in self.read("suppressed")]


@pytest.fixture(scope="module")
def marked(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Marked:
    lines = list(demo_frame((16, 18)).head(NUM).select("entity", "line").iter_rows())
    topic, name = kafka.create_topic(PARTITIONS), kafka.name("feedback")
    live = make_live(kafka, tmp_path_factory.mktemp("live"), topic, {"feedback": topics(name)})
    produce_lines(kafka, topic, lines[:FIRST], PARTITIONS)
    worker = live.start("windows.idle_timeout=1h", until_end=False)
    try:
        wait_until(lambda: live.committed_records() == FIRST, live)
        chosen = commonest(live.alerts())
        done = command(
            live,
            "feedback",
            "false-positive",
            str(live.config),
            chosen.alert_id,
            "--until",
            "2030-01-01",
            "--entities",
            "*",
            "--reason",
            "known",
        )
        assert done.returncode == 0, done.stderr
        found = Marked(live, name, chosen, done.stdout.split(":")[0])
        wait_until(lambda: len(found.effects) == PARTITIONS, live)
        produce_lines(kafka, topic, lines[FIRST:SECOND], PARTITIONS)
        wait_until(lambda: live.committed_records() > FIRST + 100, live)
        worker.kill()
        worker.wait()
        produce_lines(kafka, topic, lines[SECOND:], PARTITIONS)
        live.run_until(NUM, "windows.idle_timeout=1h")
    finally:
        end(worker)
    return found


def test_a_mark_takes_effect_in_every_partition_within_a_second(marked):
    (mark,) = marked.read("marks")
    took = [record.timestamp - mark.timestamp for record in marked.read("effects")]
    assert len(took) == PARTITIONS
    assert max(took) <= WITHIN_MS, took


def test_from_there_on_the_pattern_is_silent_and_kept_in_its_own_output(marked):
    raised = [alert for alert in marked.live.alerts() if like(marked.chosen, alert)]
    assert raised
    effects = marked.effects
    late = [alert for alert in raised if alert.source.trigger_offset >= effects[alert.source.partition]]
    assert late == []
    silenced = [alert for alert in marked.silenced if alert.lifecycle != "close"]
    assert len(silenced) >= 3
    assert all(like(marked.chosen, alert) for alert in silenced)
    assert {alert.suppressed_by for alert in silenced} == {f"mark {marked.mark}"}


def test_verify_proves_a_run_under_marks_across_a_kill(marked):
    done = command(marked.live, "verify", str(marked.live.config), "--json", "--set", "windows.idle_timeout=1h")
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"], said["reasons"], said["differences"]) == (0, "proven", [], [])
    assert said["outputs"]["suppressed"]["checked"] == len(marked.silenced)


def test_verify_finds_a_silenced_message_that_stands_among_the_alerts(marked, tmp_path):
    """The mutant of the promise: effects that no replay was told of make the run differ, or are said."""
    changes = {"feedback": {**topics(marked.name), "effects": marked.live.kafka.create_topic(1)}}
    other = json.loads(marked.live.config.read_text()) | changes
    config = tmp_path / "other.yaml"
    config.write_text(json.dumps(other))
    done = command(marked.live, "verify", str(config), "--json", "--set", "windows.idle_timeout=1h")
    said = json.loads(done.stdout)
    assert (done.returncode, said["verdict"]) == (2, "unchecked")
    assert "effect is not recorded" in said["reasons"][0]


def test_a_backtest_with_the_exported_marks_raises_the_same_alerts(marked, tmp_path):
    words = [str(marked.live.config), "--set", "windows.idle_timeout=1h"]
    assert command(marked.live, "feedback", "export", *words, "--out", str(tmp_path / "marks.json")).returncode == 0
    done = command(
        marked.live, "backtest", *words, "--marks", str(tmp_path / "marks.json"), "--out", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stderr
    columns = ["alert_id", "revision", "lifecycle", "partition", "trigger_offset"]
    replayed = set(pl.read_parquet(tmp_path / "out" / "alerts.parquet").select(columns).rows())
    raised = {
        (a.alert_id, a.revision, a.lifecycle, a.source.partition, a.source.trigger_offset) for a in marked.live.alerts()
    }
    assert raised <= replayed
    # The backtest's end is a silence, which the worker that was stopped did not wait for.
    assert all(row[4] >= committed(marked.live)[row[3]] for row in replayed - raised)


def committed(live: Live) -> dict[int, int]:
    group = json.loads(live.config.read_text())["pipeline"]
    with live.kafka.admin() as admin:
        return {tp.partition: at.offset for tp, at in admin.list_group_offsets([group])[group].items()}


def test_marks_are_listed_and_one_taken_back_is_not(marked):
    listed = command(marked.live, "feedback", "list", str(marked.live.config))
    assert listed.returncode == 0
    assert f"{marked.mark}  silent until 2030-01-01T00:00:00Z" in listed.stdout
    assert "(known)  for *: " in listed.stdout
    assert command(marked.live, "feedback", "withdraw", str(marked.live.config), marked.mark).returncode == 0
    assert marked.mark not in command(marked.live, "feedback", "list", str(marked.live.config)).stdout
    again = command(marked.live, "feedback", "withdraw", str(marked.live.config), marked.mark)
    assert again.returncode == 2
    assert "no mark" in again.stderr
