"""A report of eight demo hours with labels, in which one host writes lines that want to be markup."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from longwatch.pipeline.cli import main
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY
from longwatch.pipeline.demo.incidents import incidents
from support.demo import HOME, demo_frame

HOURS = (8, 16)
HOSTILE_HOST = "<img/src=x/onerror=alert(1)>"
HOSTILE_TEXT = "</script><script>document.title='owned'</script><b>\x1b[31m\u202egnp.exe&lt;"


def hostile_lines() -> list[tuple[int, str]]:
    start = demo_frame(HOURS)["event_time_ms"][200]
    times = [int(start) + 1000 * at for at in range(40)]
    return [(time, f"{iso(time)} ERROR {HOSTILE_HOST} nginx: {HOSTILE_TEXT}") for time in times]


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def backtest(log: Path, out: Path, *more: str) -> int:
    words = ["backtest", str(HOME / "demo.yaml"), str(log), "--out", str(out), "--set", f"bundle={HOME / 'bundle'}"]
    return main([*words, *more])


@pytest.fixture(scope="session")
def log(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("log") / "old.log"
    lines = [*demo_frame(HOURS).select("event_time_ms", "line").iter_rows(), *hostile_lines()]
    path.write_text("".join(f"{line}\n" for _, line in sorted(lines)))
    return path


@pytest.fixture(scope="session")
def labels(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    rows = [f"{each.entity},{iso(each.start_ms)},{iso(each.end_ms)}" for each in incidents(7, DEMO_FIRST_DAY)]
    path.write_text("\n".join(["host,start,end", *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def report(log, labels, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("backtest") / "out"
    assert backtest(log, out, "--labels", str(labels)) == 0
    return out / "report.html"
