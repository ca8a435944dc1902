"""A worker process that serves the live page, fed through its standard input."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from support.demo import HOME, SMALL_WINDOWS

LONGWATCH = Path(sys.executable).with_name("longwatch")


@dataclass(frozen=True)
class Serving:
    """A running worker, and where its page is."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    url: str

    def feed(self, lines: list[str]) -> None:
        """Lines of log, read at once or as fast as the worker takes them."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))
        self.process.stdin.flush()

    def alerts(self) -> set[str]:
        """Ids of the alerts that it has raised."""
        return {json.loads(line)["alert_id"] for line in (self.folder / "alerts.jsonl").read_text().splitlines()}

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text()


def prepare(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """The demo's pipeline on standard input with small windows, low thresholds and a page on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = YAML(typ="safe").load(HOME / "demo.yaml")
    sections |= {
        "bundle": str(HOME / "bundle"),
        "source": {"stdin": {"name": "app"}},
        "sink": {"embedded": {"database": "demo.db", "file": "alerts.jsonl", "stdout": False}},
        "windows": SMALL_WINDOWS,
        "thresholds": {"default": {kind: {"false_alarms_per_day": 100} for kind in ("event", "window")}},
        "web": {"port": 0},
    } | (changes or {})
    path = folder / "demo.yaml"
    path.write_text(json.dumps(sections))
    return path


@contextmanager
def serving(
    folder: Path, changes: dict[str, Any] | None = None, environment: dict[str, str] | None = None
) -> Iterator[Serving]:
    config = prepare(folder, changes)
    words = [str(LONGWATCH), "--log-format", "json", "run", str(config), "--instance", "worker-1"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stderr=log, stdout=log, env={**os.environ, **(environment or {})}
        )
    try:
        yield Serving(process, folder, _address(folder / "worker.log", process))
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.kill()
        process.wait()


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 60
    while True:
        text = log.read_text()
        if (found := re.search(r"http://[^\"\s]+/", text)) is not None:
            return found[0]
        assert process.poll() is None, text[-3000:]
        assert time.monotonic() < deadline, text[-3000:]
        time.sleep(0.05)
