"""A log and what one process writes of it, by command."""

from pathlib import Path
from tempfile import mkdtemp

import pytest

from longwatch.pipeline.cli import main
from support.demo import HOME
from support.parts import write_history

BYTES = ("alerts.parquet", "report.html", "summary.json", "windows.parquet", "thresholds.csv", "provenance.json")


def backtest(folder: Path, partitions: int, *more: str) -> dict[str, bytes]:
    """What `longwatch backtest` writes, with the same words whoever replays."""
    topic = f"{{name: logs, id: topic-uuid, partitions: {partitions}}}"
    sets = {
        "bundle": str(HOME / "bundle"),
        "source.files.paths": f"[{folder.parent / 'demo.log'}]",
        "source.files.as_topic": topic,
        "source.files.written": "2026-11-30",
        "windows.max_events": "200",
    }
    words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    assert main(["backtest", str(HOME / "demo.yaml"), "--out", "out", *words, *more]) == 0
    return {name: (folder / "out" / name).read_bytes() for name in BYTES}


@pytest.fixture(scope="session")
def log(tmp_path_factory) -> Path:
    return write_history(tmp_path_factory.mktemp("command") / "demo.log")


@pytest.fixture
def by_command(log, monkeypatch):
    """Runs it in a folder of its own, so that `--out` is the same word: the report names it."""

    def run(name: str, partitions: int, *more: str) -> dict[str, bytes]:
        folder = Path(mkdtemp(prefix=name, dir=log.parent))
        monkeypatch.chdir(folder)
        return backtest(folder, partitions, *more)

    return run
