"""Runs a real worker at full speed on a real broker, entities coming and going, and asks whether anything grows.

PYTHONPATH=tests python -m chaos.soak --minutes 30
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chaos.churn import churn
from chaos.slope import slope
from support.kafka_broker import KafkaForTests, running_broker
from support.live import LONGWATCH, Live, make_live

MIB = 1 << 20
SAMPLE_S = 2.0
AHEAD = 1_000_000
"""Records that wait for the worker: more than it reads between two lines of progress, few beside what is retained."""

DAYS_MS = 60 * 86_400_000
CHANGES: dict[str, object] = {
    "windows": {"max_events": 200, "overlap": 32, "idle_gap": "5m", "max_duration": "6h"},
    "thresholds": {"default": {kind: {"false_alarms_per_day": 1} for kind in ("event", "window")}},
}


@dataclass
class Series:
    """What was seen, by name: the seconds since the start, and the values."""

    seen: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)

    def add(self, name: str, second: float, value: float) -> None:
        """One sample."""
        seconds, values = self.seen.setdefault(name, ([], []))
        seconds.append(second)
        values.append(value)

    def since(self, name: str, second: float) -> tuple[list[float], list[float]]:
        """The samples from a second on."""
        pairs = [pair for pair in zip(*self.seen[name], strict=True) if pair[0] >= second]
        return [at for at, _ in pairs], [value for _, value in pairs]


class Feeder:
    """Keeps AHEAD records in front of the worker, on a thread of its own, until told to stop."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="feeder")
        self.written = 0
        self.read = 0
        self.failed: BaseException | None = None

    def __enter__(self) -> "Feeder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _feed(self) -> None:
        try:
            with self._live.kafka.producer(linger_ms=50, batch_size=256 * 1024, compression_type="lz4") as producer:
                for block in churn(time.time_ns() // 1_000_000 - DAYS_MS):
                    for name, line in block:
                        producer.send(self._live.topic, line, name, [], 0)
                    producer.flush()
                    self.written += len(block)
                    if self._full():
                        return
        except BaseException as error:
            self.failed = error

    def _full(self) -> bool:
        """Wait while enough is ahead; whether to stop."""
        while not self._stop.is_set() and self.written - self.read > AHEAD:
            self._stop.wait(0.05)
        return self._stop.is_set()


def soak(kafka: KafkaForTests, folder: Path, minutes: float, settings: list[str]) -> dict[str, Any]:
    """One run; the verdict is of what comes after the first third."""
    # Old segments go: what the topic holds stays bounded, and far behind the worker.
    topic = kafka.create_topic(retention_bytes=str(256 * MIB), segment_bytes=str(32 * MIB))
    live = make_live(kafka, folder / "soak", topic, CHANGES)
    words = [str(LONGWATCH), "--log-format", "json", "run", str(live.config), "--instance", "soak"]
    words += [word for setting in settings for word in ("--set", setting)]
    series = Series()
    with live.log.open("wb") as log, Feeder(live) as feeder:
        worker = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            _watch(worker, live, feeder, series, minutes * 60)
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(30)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    return _report(series, minutes, code)


def _watch(worker: "subprocess.Popen[bytes]", live: Live, feeder: Feeder, series: Series, seconds: float) -> None:
    started, told = time.monotonic(), 0
    while (now := time.monotonic() - started) < seconds:
        assert worker.poll() is None, live.log.read_text(errors="replace")[-4000:]
        if feeder.failed is not None:
            raise feeder.failed
        for name, value in process_samples(worker.pid).items():
            series.add(name, now, value)
        lines = [json.loads(line) for line in live.log.read_bytes().splitlines() if b'"progress"' in line]
        for line in lines[told:]:
            feeder.read = line["records"]
            series.add("open_windows", now, line["open_windows"])
            series.add("pending", now, line["pending"])
            series.add("records", now, line["records"])
        told = len(lines)
        time.sleep(SAMPLE_S)


def process_samples(pid: int) -> dict[str, float]:
    """What a process holds now, as Linux counts it."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {name: int(number) for name, number in re.findall(r"(\w+):\s+(\d+)", status)}
    return {
        "rss_mib": found["VmRSS"] / 1024,
        "threads": found["Threads"],
        "open_files": len(os.listdir(f"/proc/{pid}/fd")),
    }


def _report(series: Series, minutes: float, code: int) -> dict[str, Any]:
    warm = minutes * 60 / 3
    slopes = {name: slope(*series.since(name, warm)) for name in ("rss_mib", "threads", "open_files", "open_windows")}
    seconds, records = series.since("records", warm)
    rates = (records[-1] - records[0]) / (seconds[-1] - seconds[0])
    return {
        "benchmark": "soak",
        "minutes": minutes,
        "warm_up_minutes": round(minutes / 3, 2),
        "records": int(records[-1]),
        "records_per_second": round(rates),
        "peak_rss_mib": round(max(series.seen["rss_mib"][1])),
        "median": {name: sorted(series.since(name, warm)[1])[len(series.since(name, warm)[1]) // 2] for name in slopes},
        "slopes": {name: found.as_dict() for name, found in slopes.items()},
        "exit_code": code,
        "flat": all(found.flat for found in slopes.values()) and code == 0,
        "longwatch": version("longwatch"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def main() -> int:
    """Command line: one JSON object on standard output, exit code 1 when something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of `longwatch run`")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="longwatch-soak-") as scratch,
        running_broker(Path(scratch) / "kafka") as kafka,
    ):
        report = soak(kafka, Path(scratch), asked.minutes, asked.set)
    sys.stdout.write(json.dumps(report) + "\n")
    return int(not report["flat"])


if __name__ == "__main__":
    sys.exit(main())
