"""`longwatch run` without a broker: kills, signals and pipes, each in a process of its own."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from ruamel.yaml import YAML

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.cli import main
from support.demo import HOME, SMALL_WINDOWS, demo_frame

LONGWATCH = Path(sys.executable).with_name("longwatch")
HOURS = (8, 20)
KILLS = 2


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """Twelve hours with three that cannot be read and one that is late."""
    found = demo_frame(HOURS)["line"].to_list()
    for place, line in ((40, "no header here"), (5000, "\x00"), (9000, "")):
        found.insert(place, line)
    found.insert(3000, found[10])
    return found


def prepare(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """The demo's configuration with small windows, low thresholds, and alerts on standard output too."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = YAML(typ="safe").load(HOME / "demo.yaml")
    sections |= {
        "bundle": str(HOME / "bundle"),
        "sink": {"embedded": {"database": "demo.db", "file": "alerts.jsonl", "stdout": True}},
        "windows": SMALL_WINDOWS,
        "thresholds": {"default": {kind: {"false_alarms_per_day": 100} for kind in ("event", "window")}},
    } | (changes or {})
    (folder / "demo.yaml").write_text(json.dumps(sections))
    return folder


def prepare_file(folder: Path, lines: list[str]) -> Path:
    prepare(folder)
    (folder / "demo.log").write_text("".join(f"{line}\n" for line in lines))
    return folder


def start(folder: Path) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([LONGWATCH, "run", folder / "demo.yaml"], stdin=pipe, stdout=pipe, stderr=pipe)


def killed_after(folder: Path, num_alerts: int) -> int:
    """Exit code of a worker killed when it has printed so many alerts; 0 where it had fewer left and has ended."""
    with start(folder) as worker:
        for _ in range(num_alerts):
            if not worker.stdout.readline():
                break
        else:
            worker.kill()
    return worker.returncode


def outputs_of(folder: Path) -> list[tuple[Any, ...]]:
    """Rows of the outputs table, but for when a line of a file was read and the last digits of scores."""
    with closing(sqlite3.connect(folder / "demo.db")) as database:
        rows = database.execute("SELECT kind, topic_id, partition, trigger_offset, key, value, headers FROM outputs")
        return sorted(((*row[:5], *_essence(row[0], row[5]), *_headers(row[6])) for row in rows), key=repr)


def _headers(text: str) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in json.loads(text).items() if name != "longwatch.timestamp_ms")


def _essence(kind: str, value: bytes) -> tuple[Any, ...]:
    if kind != "alert":
        return (value,)
    alert = msgspec.json.decode(value, type=Alert)
    return alert.alert_id, alert.revision, alert.lifecycle, repr(alert.window), round(alert.score, 2)


def alerts_of(folder: Path) -> list[Alert]:
    return [msgspec.json.decode(line, type=Alert) for line in (folder / "alerts.jsonl").read_bytes().splitlines()]


def position_of(folder: Path) -> tuple[int, int]:
    """(next offset, replay_from) of the one partition."""
    with closing(sqlite3.connect(folder / "demo.db")) as database:
        ((offset, metadata),) = database.execute("SELECT next_offset, metadata FROM positions").fetchall()
    return offset, json.loads(metadata)["replay_from"]


@pytest.fixture(scope="module")
def whole(lines, tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    folder = prepare_file(tmp_path_factory.mktemp("whole"), lines)
    done = subprocess.run([LONGWATCH, "run", folder / "demo.yaml"], capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_a_whole_run_commits_everything_and_says_the_same_thrice(whole, lines):
    rows = outputs_of(whole)
    assert {row[0] for row in rows} == {"alert", "dead_letter", "late"}
    assert position_of(whole)[0] == len(lines)
    alerts = [(alert.alert_id, alert.revision) for alert in alerts_of(whole)]
    assert len(alerts) > 50
    assert sorted(alerts) == sorted(row[5:7] for row in rows if row[0] == "alert")


@pytest.mark.parametrize("seed", [1, 6])
def test_kills_at_random_moments_lose_no_output_and_double_none(whole, lines, seed, tmp_path):
    """A worker is killed when it has printed a random number of alerts: between commits, or amid a delivery."""
    folder, draw = prepare_file(tmp_path, lines), random.Random(seed)
    most = 2 * len(alerts_of(whole)) // 3
    codes = [killed_after(folder, draw.randint(1, most)) for _ in range(KILLS)]
    assert codes[0] == -signal.SIGKILL
    last = subprocess.run([LONGWATCH, "run", folder / "demo.yaml"], capture_output=True)
    assert last.returncode == 0, last.stderr[-2000:]
    assert outputs_of(folder) == outputs_of(whole)
    delivered = [(alert.alert_id, alert.revision) for alert in alerts_of(folder)]
    expected = [(alert.alert_id, alert.revision) for alert in alerts_of(whole)]
    assert len(set(expected)) == len(expected)
    assert set(delivered) == set(expected)


def test_a_run_goes_on_where_the_last_one_committed_and_reads_nothing_twice(whole, lines, tmp_path, capsys):
    folder = prepare_file(tmp_path, lines[:2000])
    assert main(["run", str(folder / "demo.yaml")]) == 0
    (folder / "demo.log").write_text("".join(f"{line}\n" for line in lines))
    assert main(["run", str(folder / "demo.yaml")]) == 0
    err = capsys.readouterr().err
    assert "resumed" in err
    assert "offset=2000" in err
    assert outputs_of(folder) == outputs_of(whole)
    assert len(alerts_of(folder)) == len(alerts_of(whole))


def test_a_backtest_raises_the_alerts_that_the_run_raised(whole, tmp_path):
    assert main(["backtest", str(whole / "demo.yaml"), str(whole / "demo.log"), "--out", str(tmp_path / "out")]) == 0
    found = pl.read_parquet(tmp_path / "out" / "alerts.parquet").select("alert_id", "revision", "lifecycle").rows()
    assert sorted(found) == sorted((alert.alert_id, alert.revision, alert.lifecycle) for alert in alerts_of(whole))


def test_sigterm_commits_what_was_read_and_ends_with_0(lines, tmp_path):
    """Standard input stays open, so that nothing but the signal can end the run; what is written fits into the pipe."""
    thresholds = {"default": {"event": {"score": 1.0}}}
    folder = prepare(tmp_path, {"source": {"stdin": {"name": "app"}}, "thresholds": thresholds})
    piped = "".join(f"{line}\n" for line in lines[:500]).encode()
    assert len(piped) < 1 << 16
    with start(folder) as worker:
        worker.stdin.write(piped)
        worker.stdin.flush()
        assert json.loads(worker.stdout.readline())["lifecycle"] == "open"
        worker.send_signal(signal.SIGTERM)
        worker.stdout.read()
        log = worker.stderr.read().decode()
        assert worker.wait() == 0
    offset, replay_from = position_of(folder)
    assert 0 <= replay_from <= offset <= 500
    assert "event=stopped" in log
    assert f"records={offset}" in log
    assert max(row[3] for row in outputs_of(folder)) < offset


def test_piped_lines_give_the_alerts_that_a_file_of_them_gives(whole, lines, tmp_path):
    folder = prepare(tmp_path, {"source": {"stdin": {"name": "app"}}})
    piped = "".join(f"{line}\n" for line in lines).encode()
    done = subprocess.run([LONGWATCH, "run", folder / "demo.yaml"], input=piped, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]

    def essence(alerts: list[Alert]) -> list[tuple[Any, ...]]:
        """All but what names the source: each run of a pipe is a log of its own."""
        return sorted(
            (a.entity, a.kind, a.revision, a.lifecycle, a.source.trigger_offset, repr(a.window)) for a in alerts
        )

    assert essence(alerts_of(folder)) == essence(alerts_of(whole))
    assert {alert.source.topic for alert in alerts_of(folder)} == {"app"}
    assert done.stdout == (folder / "alerts.jsonl").read_bytes()


def test_a_bundle_that_is_not_there_ends_it_with_1_before_a_database_is_made(tmp_path, capsys):
    folder = prepare(tmp_path, {"bundle": "nowhere"})
    assert main(["run", str(folder / "demo.yaml")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert not (folder / "demo.db").exists()
