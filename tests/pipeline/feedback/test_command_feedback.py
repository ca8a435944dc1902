"""`longwatch feedback` without a broker: a mark between two runs silences, expires, is listed, and replays."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.cli import main
from support.demo import demo_frame
from support.live_page import prepare

NUM, FIRST = 3000, 1200


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return demo_frame((16, 18)).head(NUM)


def write_log(folder: Path, frame: pl.DataFrame) -> None:
    (folder / "app.log").write_text("".join(f"{line}\n" for line in frame["line"]))


def pipeline(folder: Path, feedback: dict[str, Any] | None) -> str:
    source = {"files": {"paths": ["app.log"], "as_topic": {"name": "app", "partitions": 1}}}
    section = {} if feedback is None else {"feedback": feedback}
    return str(prepare(folder, {"source": source, "web": None} | section))


def said(folder: Path, kind: str) -> list[Alert]:
    with closing(sqlite3.connect(folder / "demo.db")) as database:
        rows = database.execute("SELECT value FROM outputs WHERE kind = ? ORDER BY id", (kind,)).fetchall()
    return [msgspec.json.decode(value, type=Alert) for (value,) in rows]


def like(chosen: Alert, alert: Alert) -> bool:
    return alert.kind == chosen.kind and set(alert.pattern) <= set(chosen.pattern) and alert.lifecycle != "close"


@pytest.fixture
def half(frame, tmp_path) -> tuple[str, Alert]:
    """A pipeline that has read the first part, and an alert of it whose pattern comes again and again."""
    config = pipeline(tmp_path, {})
    write_log(tmp_path, frame.head(FIRST))
    assert main(["run", config]) == 0
    opened = [alert for alert in said(tmp_path, "alert") if alert.lifecycle == "open"]
    return config, max(opened, key=lambda chosen: sum(like(chosen, alert) for alert in opened))


def test_a_mark_silences_the_next_run_expires_and_replays(half, frame, tmp_path, capsys):
    config, chosen = half
    until = int(frame["event_time_ms"][2200])
    words = ["feedback", "false-positive", config, chosen.alert_id[:10], "--entities", "*", "--reason", "ours"]
    assert main([*words, "--until", str(pl.from_epoch(pl.Series([until]), "ms")[0].isoformat()) + "Z"]) == 0
    mark = capsys.readouterr().out.split(":")[0]
    write_log(tmp_path, frame)
    assert main(["run", config]) == 0
    silenced = [alert for alert in said(tmp_path, "suppressed") if alert.lifecycle != "close"]
    assert len(silenced) >= 2
    assert all(alert.suppressed_by == f"mark {mark}" and alert.source.trigger_offset >= FIRST for alert in silenced)
    times = frame["event_time_ms"]
    again = [a for a in said(tmp_path, "alert") if like(chosen, a) and a.source.trigger_offset >= FIRST]
    assert again
    assert all(int(times[alert.window.last_offset]) > until for alert in again)
    capsys.readouterr()
    assert main(["feedback", "list", config]) == 0
    listed = capsys.readouterr().out
    assert f"{mark}  ended until" in listed
    assert "(ours)" in listed
    assert main(["feedback", "export", config, "--out", str(tmp_path / "marks.json")]) == 0
    replay = ["backtest", config, "--marks", str(tmp_path / "marks.json"), "--out", str(tmp_path / "out")]
    assert main(replay) == 0
    assert "alert messages silenced" in capsys.readouterr().out
    found = pl.read_parquet(tmp_path / "out" / "alerts.parquet").select("alert_id", "revision", "lifecycle").rows()
    assert sorted(found) == sorted((a.alert_id, a.revision, a.lifecycle) for a in said(tmp_path, "alert"))


def test_rules_in_yaml_silence_what_nothing_else_carries_and_change_the_digest(frame, tmp_path):
    plain, ruled = tmp_path / "plain", tmp_path / "ruled"
    rule = {"name": "cron", "templates": ["*cron*"], "entities": ["batch-*"]}
    for folder, feedback in ((plain, None), (ruled, {"rules": [rule]})):
        config = pipeline(folder, feedback)
        write_log(folder, frame)
        assert main(["run", config]) == 0
    silenced = said(ruled, "suppressed")
    assert silenced
    assert {alert.suppressed_by for alert in silenced} == {"rule cron"}
    assert all(alert.entity.startswith("batch-") for alert in silenced)
    everything = {(a.alert_id, a.revision) for a in said(ruled, "alert") + silenced}
    assert everything == {(a.alert_id, a.revision) for a in said(plain, "alert")}
    assert said(plain, "alert")[0].digests.config != said(ruled, "alert")[0].digests.config


@pytest.mark.parametrize(
    ("words", "said_in"),
    [
        (["--for", "7"], "expected a duration"),
        ([], "a mark needs an end"),
        (["--for", "7d", "--until", "2030-01-01"], "a mark needs an end"),
        (["--until", "tomorrow"], "is no time"),
    ],
)
def test_a_mark_without_a_clear_end_is_refused(half, words, said_in, capsys):
    config, chosen = half
    assert main(["feedback", "false-positive", config, chosen.alert_id, *words]) == 2
    assert said_in in capsys.readouterr().err


def test_an_alert_that_is_not_there_is_refused_and_one_given_as_json_is_taken(half, tmp_path, capsys):
    config, chosen = half
    assert main(["feedback", "false-positive", config, "0" * 32, "--for", "1d"]) == 2
    assert "no alert begins with" in capsys.readouterr().err
    (tmp_path / "alert.json").write_bytes(chosen.encode())
    words = ["feedback", "false-positive", config, chosen.alert_id, "--for", "1d", "--alert"]
    assert main([*words, str(tmp_path / "alert.json")]) == 0
    entry = json.loads((tmp_path / "longwatch.marks.jsonl").read_text())
    assert (entry["pattern"], entry["entities"]) == (chosen.pattern, [chosen.entity])


def test_without_the_section_feedback_says_what_to_write(frame, tmp_path, capsys):
    config = pipeline(tmp_path, None)
    assert main(["feedback", "list", config]) == 2
    assert "feedback: {}" in capsys.readouterr().err


def test_a_worker_does_not_go_on_without_the_marks_it_committed_under(half, frame, tmp_path, capsys):
    config, chosen = half
    assert main(["feedback", "false-positive", config, chosen.alert_id, "--until", "2030-01-01"]) == 0
    write_log(tmp_path, frame)
    assert main(["run", config]) == 0
    (tmp_path / "longwatch.marks.jsonl").unlink()
    capsys.readouterr()
    assert main(["run", config]) == 1
    assert "were in force at the last commit" in capsys.readouterr().err
    pipeline(tmp_path, None)
    assert main(["run", config]) == 1
    assert "has no `feedback`" in capsys.readouterr().err
