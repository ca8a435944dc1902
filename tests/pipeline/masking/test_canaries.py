"""Canaries: personal data planted in the input is in nothing that leaves, and everything else stays as it was."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.cli import main
from support.canaries import Canaries, canary_log
from support.demo import BUSY, HOME, demo_frame

LONGWATCH = Path(sys.executable).with_name("longwatch")
SEED = 9
SETTINGS = [word for key, value in BUSY.items() for word in ("--set", f"{key}={value}")]


@dataclass(frozen=True)
class Ran:
    """One run of the worker over a log with canaries: its folder, what it printed, what it logged."""

    folder: Path
    stdout: bytes
    stderr: bytes

    def rows(self, kind: str) -> list[tuple[bytes | None, bytes, str]]:
        with contextlib.closing(sqlite3.connect(self.folder / "out.db")) as database:
            query = "SELECT key, value, headers FROM outputs WHERE kind = ? ORDER BY id"
            return database.execute(query, (kind,)).fetchall()

    def alerts(self) -> list[Alert]:
        return [msgspec.json.decode(value, type=Alert) for _, value, _ in self.rows("alert")]


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries(SEED)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, canaries: Canaries) -> Path:
    path = tmp_path_factory.mktemp("canaries") / "app.log"
    path.write_text("".join(f"{line}\n" for line in canary_log(canaries, demo_frame()["line"].to_list())))
    return path


def run(log: Path, folder: Path, *settings: str) -> Ran:
    folder.mkdir(parents=True)
    words = [str(LONGWATCH), "--debug", "run", str(HOME / "demo.yaml"), "--until-end", *SETTINGS]
    sink = {"database": str(folder / "out.db"), "file": str(folder / "alerts.jsonl"), "stdout": True}
    words += ["--set", f"source.files.paths=[{log}]", "--set", f"sink.embedded={json.dumps(sink)}"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(words, capture_output=True, timeout=120, check=True)
    return Ran(folder, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def masked(log: Path) -> Ran:
    return run(log, log.parent / "masked")


@pytest.fixture(scope="module")
def plain(log: Path) -> Ran:
    return run(log, log.parent / "plain", "masking.enabled=false")


def test_without_masking_the_canaries_are_found_where_they_are_looked_for(plain: Ran, canaries: Canaries):
    shown = b"\n".join(msgspec.json.encode(alert) for alert in plain.alerts())
    assert len(canaries.found_in(shown)) > len(canaries.planted) / 2
    for kind in ("dead_letter", "late"):
        content = b"\n".join(value for _, value, _ in plain.rows(kind))
        assert canaries.found_in(content) == canaries.planted


def test_no_canary_is_in_the_database_the_file_the_terminal_or_the_log(masked: Ran, canaries: Canaries):
    for place in ("out.db", "alerts.jsonl"):
        assert canaries.found_in((masked.folder / place).read_bytes()) == []
    for kind in ("alert", "dead_letter", "late"):
        rows = masked.rows(kind)
        assert rows
        assert canaries.found_in(repr(rows).encode()) == []
    assert b"alert_id" in masked.stdout
    assert b"stopped" in masked.stderr
    assert canaries.found_in(masked.stdout + masked.stderr) == []


def test_masking_changes_no_id_no_score_and_no_digest(masked: Ran, plain: Ran):
    def proof(ran: Ran) -> list[object]:
        return [(a.alert_id, a.revision, a.lifecycle, a.score, a.window, a.source, a.digests) for a in ran.alerts()]

    assert proof(masked) == proof(plain)
    counts = [len(ran.rows(kind)) for ran in (masked, plain) for kind in ("dead_letter", "late")]
    assert counts[:2] == counts[2:]


def test_dead_letters_keep_their_bytes_where_that_is_asked_for(log: Path, canaries: Canaries):
    kept = run(log, log.parent / "kept", "masking.dead_letters=keep")
    assert canaries.found_in(b"\n".join(value for _, value, _ in kept.rows("dead_letter"))) == canaries.planted
    assert canaries.found_in(repr(kept.rows("alert")).encode()) == []
    assert not any("longwatch.masked" in headers for _, _, headers in kept.rows("dead_letter"))


def test_a_masked_letter_says_so_and_an_untouched_one_does_not(masked: Ran):
    letters = masked.rows("dead_letter")
    assert all('"longwatch.masked":"true"' in headers for _, _, headers in letters)
    assert all(b"<" in value for _, value, _ in letters)


def test_with_a_key_one_person_has_one_pseudonym_everywhere(
    log: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LW_PSEUDONYMS", "0123456789abcdef0123")
    ran = run(log, log.parent / "pseudonyms", "masking.pseudonym_key_env=LW_PSEUDONYMS")
    (entity,) = {alert.entity for alert in ran.alerts() if alert.entity.startswith("<EMAIL#")}
    assert any(entity.encode() in value for _, value, _ in ran.rows("dead_letter"))
    assert any(event.line and entity in event.line for alert in ran.alerts() for event in alert.top_events)
    assert canaries.found_in(repr([ran.rows(kind) for kind in ("alert", "late")]).encode() + ran.stdout) == []
    assert b"0123456789abcdef0123" not in ran.stdout + ran.stderr + (ran.folder / "out.db").read_bytes()


def test_no_canary_is_in_the_report_its_files_or_an_explanation(
    log: Path, canaries: Canaries, masked: Ran, capsys: pytest.CaptureFixture[str]
):
    out = log.parent / "report"
    assert main(["backtest", str(HOME / "demo.yaml"), str(log), "--out", str(out), *SETTINGS]) == 0
    table = pl.read_parquet(out / "alerts.parquet")
    for content in (
        repr(table.rows()).encode(),
        (out / "report.html").read_bytes(),
        (out / "summary.json").read_bytes(),
    ):
        assert canaries.found_in(content) == []
    assert b"EMAIL" in (out / "report.html").read_bytes()
    # Scores hold names as they came, for `explain` reads them again: for their owner alone.
    assert (out / "scores").stat().st_mode & 0o077 == 0
    live = [msgspec.structs.replace(alert, instance="") for alert in masked.alerts()]
    back = [msgspec.json.decode(text, type=Alert) for text in table["message"]]
    own = [alert.alert_id for alert in back if "<EMAIL>" in alert.entity]
    assert own
    assert {alert.entity for alert in live} == {alert.entity for alert in back}
    for alert_id in {own[0], back[0].alert_id}:
        assert main(["explain", alert_id, "--backtest", str(out)]) == 0
    shown = capsys.readouterr()
    assert "What stands out" in shown.out
    assert canaries.found_in((shown.out + shown.err).encode()) == []
