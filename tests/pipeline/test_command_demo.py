"""`longwatch demo` as a person runs it: alerts, what was caught, and no torch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.cli import main
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY
from longwatch.pipeline.demo.incidents import incidents
from longwatch.pipeline.demo.verdict import Verdict, judge

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from longwatch.pipeline.cli import main
code = main(["demo", "--out", sys.argv[1]])
print("loaded:", sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "triton", "kafka", "onnx")))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def done(folder) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", WITHOUT_TORCH, folder], capture_output=True, text=True)


@pytest.fixture(scope="module")
def verdict(done, folder) -> Verdict:
    lines = (folder / "alerts.jsonl").read_bytes().splitlines()
    return judge([msgspec.json.decode(line, type=Alert) for line in lines], incidents(7, DEMO_FIRST_DAY))


def test_it_succeeds_without_torch_and_imports_no_kafka_client(done):
    assert done.returncode == 0, done.stderr[-2000:]
    assert "loaded: ['torch']" in done.stdout


def test_alerts_are_shown_as_they_come_and_the_score_after_them(done):
    lines = done.stdout.splitlines()
    first, score = (next(at for at, line in enumerate(lines) if word in line) for word in ("ALERT", "incidents caught"))
    assert first < score
    assert re.match(
        r"\[ *\d+\.\d s\] ALERT \S+ (event|window) score \d+\.\d \(threshold \d+\.\d\) after \d+ ", lines[first]
    )
    assert re.match(r"\d of 7 incidents caught, \d+ false alarms \(\d+\.\d a day\); [\d,]+ lines in ", lines[score])


def test_the_shipped_bundle_catches_six_of_seven_and_both_that_only_order_shows(verdict):
    caught = [incident.id for incident, _ in verdict.caught]
    assert len(caught) >= 6
    assert {"swapped-approval", "stale-key"} <= set(caught)


def test_false_alarms_are_the_web_hosts_new_release_and_at_most_a_handful_besides(verdict):
    released = [
        alert
        for alert in verdict.false
        if alert.entity.startswith("web-") and "unseen_template" in alert.top_events[0].evidence
    ]
    assert len(verdict.false) - len(released) <= 3
    assert len(verdict.false) <= 20


def test_what_it_says_is_what_it_wrote(done, folder, verdict):
    said = re.search(r"(\d) of 7 incidents caught, (\d+) false alarms .*?; ([\d,]+) lines", done.stdout)
    lines = (folder / "demo.log").read_bytes().count(b"\n")
    assert [int(text.replace(",", "")) for text in said.groups()] == [len(verdict.caught), len(verdict.false), lines]
    assert sum("  missed  " in line for line in done.stdout.splitlines()) == len(verdict.missed)
    assert {path.name for path in folder.iterdir()} >= {"demo.log", "demo.yaml", "demo.db", "alerts.jsonl"}
    opened = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    assert done.stdout.count("] ALERT ") == sum(alert["lifecycle"] == "open" for alert in opened)


def test_a_second_demo_into_the_same_folder_is_refused_and_changes_nothing(done, folder, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert main(["demo", "--out", str(folder)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {folder} ")
    assert "holds an earlier demo\nhint: choose another folder with --out" in err
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
