"""A disk without room ends an embedded worker in words, spoils nothing, and costs nothing once there is room again."""

import json
import resource
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.sinks.streams import LineFile
from support.demo import HOME, SMALL_WINDOWS, demo_frame
from support.live import LONGWATCH

ROOM = (64 * 1024, 400 * 1024)
"""Where the database is made and where it is at work when there is no more."""


def prepare(folder: Path) -> Path:
    folder.mkdir()
    sections = YAML(typ="safe").load(HOME / "demo.yaml")
    sections |= {
        "bundle": str(HOME / "bundle"),
        "sink": {"embedded": {"database": "demo.db", "file": "alerts.jsonl", "stdout": False}},
        "windows": SMALL_WINDOWS,
        "thresholds": {"default": {kind: {"false_alarms_per_day": 100} for kind in ("event", "window")}},
    }
    (folder / "demo.yaml").write_text(json.dumps(sections))
    (folder / "demo.log").write_text("".join(f"{line}\n" for line in demo_frame((8, 14))["line"]))
    return folder


def run(folder: Path, room: int | None = None) -> "subprocess.CompletedProcess[str]":
    """The worker, with files no larger than `room`: what it writes past that fails, as on a full disk."""

    def limit() -> None:
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    words = [str(LONGWATCH), "run", str(folder / "demo.yaml")]
    return subprocess.run(words, capture_output=True, text=True, preexec_fn=limit, timeout=120, check=False)


def alerts(folder: Path) -> list[tuple[Any, ...]]:
    lines = [msgspec.json.decode(line, type=Alert) for line in (folder / "alerts.jsonl").read_bytes().splitlines()]
    return [(alert.alert_id, alert.revision, alert.lifecycle, round(alert.score, 2)) for alert in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = prepare(tmp_path_factory.mktemp("disk") / "whole")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("room", ROOM)
def test_a_full_disk_is_an_error_in_words_and_nothing_is_lost_or_doubled_after_it(whole: Path, tmp_path, room: int):
    folder = prepare(tmp_path / "small")
    done = run(folder, room)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "demo.db" in done.stderr
    assert "hint" in done.stderr
    with closing(sqlite3.connect(folder / "demo.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert run(folder).returncode == 0
    assert sorted(set(alerts(folder))) == sorted(alerts(whole))
    assert len(alerts(whole)) > 50


def limited_append(path: Path, room: int, values: list[bytes]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        LineFile(path)(values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_of_alerts_holds_no_half_of_one_when_the_disk_is_full(tmp_path):
    path = tmp_path / "alerts.jsonl"
    LineFile(path)([b"a" * 50])
    with pytest.raises(StateError, match="cannot be appended"):
        limited_append(path, 100, [b"b" * 80])
    assert path.read_bytes() == b"a" * 50 + b"\n"
    LineFile(path)([b"b" * 80])
    assert path.read_bytes().splitlines() == [b"a" * 50, b"b" * 80]


def test_an_alert_is_a_line_of_its_own_where_a_crash_left_half_of_one(tmp_path):
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"whole": 1}\n{"ha')
    LineFile(path)([b'{"next": 1}'])
    assert path.read_bytes().splitlines() == [b'{"whole": 1}', b'{"ha', b'{"next": 1}']
