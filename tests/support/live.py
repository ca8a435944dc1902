"""A pipeline on the tests' broker: its topics, its configuration, its worker processes, and what they left behind."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError
from ruamel.yaml import YAML

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.sources.partitioner import partition_of
from support.demo import HOME, SMALL_WINDOWS
from support.kafka_broker import KafkaForTests

LONGWATCH = Path(sys.executable).with_name("longwatch")
SILENCE_MS = 2000


@dataclass(frozen=True)
class Live:
    """One pipeline: its YAML, its input topic, and where its outputs go."""

    kafka: KafkaForTests
    config: Path
    topic: str
    outputs: str

    @property
    def log(self) -> Path:
        """What its workers logged, one after the other and beside each other."""
        return self.config.parent / "worker.log"

    def start(self, *settings: str, until_end: bool = True, instance: str | None = "w1") -> "subprocess.Popen[bytes]":
        """A worker process, logging to `log`. Without an instance it leaves the group when it is stopped."""
        words = [str(LONGWATCH), "run", str(self.config)]
        words += [] if instance is None else ["--instance", instance]
        words += ["--until-end"] if until_end else []
        words += [word for setting in settings for word in ("--set", setting)]
        with self.log.open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log)

    def run(self, *settings: str, instance: str | None = "w1") -> None:
        """A worker from start to the end of the input."""
        worker = self.start(*settings, instance=instance)
        assert worker.wait(timeout=240) == 0, self.log.read_text()[-4000:]

    def run_until(self, records: int, *settings: str) -> None:
        """A worker until so many input records are committed, then told to stop; what is open stays open."""
        worker = self.start(*settings, until_end=False)
        try:
            wait_until(lambda: self.committed_records() == records, self)
            worker.terminate()
            assert worker.wait(timeout=30) == 0
        finally:
            end(worker)

    def alerts(self) -> list[Alert]:
        """Every committed alert message."""
        return [msgspec.json.decode(record.value, type=Alert) for record in self.kafka.read(f"{self.outputs}.alerts")]

    def committed_outputs(self) -> list[tuple[object, ...]]:
        """Everything a read_committed reader sees of all three outputs, scores to 3 decimals, in one order."""
        alerts = [
            (a.alert_id, a.revision, a.lifecycle, a.source.trigger_offset, a.window, round(a.score, 3))
            for a in self.alerts()
        ]
        letters = [
            (name, record.key, record.value, sorted(record.headers))
            for name in ("dlq", "late")
            for record in self.kafka.read(f"{self.outputs}.{name}")
        ]
        return sorted([*alerts, *letters], key=repr)

    def committed_records(self) -> int:
        """How many input records the group has committed."""
        group = json.loads(self.config.read_text())["pipeline"]
        with self.kafka.admin() as admin:
            try:
                found = admin.list_group_offsets([group])[group]
            except (CoordinatorLoadInProgressError, CoordinatorNotAvailableError):
                return 0  # a broker that has had no group yet, or has just started
        return sum(at.offset for at in found.values() if at.offset > 0)


def make_live(kafka: KafkaForTests, folder: Path, topic: str, changes: dict[str, object] | None = None) -> Live:
    """A pipeline of its own on `topic`: the demo's configuration with small windows; `changes` replaces sections."""
    outputs = kafka.name("out")
    sections = YAML(typ="safe").load(HOME / "demo.yaml")
    sections |= {
        "pipeline": kafka.name("pipeline"),
        "source": {"kafka": {"bootstrap_servers": [kafka.bootstrap_servers], "topic": topic}},
        "bundle": str(HOME / "bundle"),
        "windows": {**SMALL_WINDOWS, "idle_timeout": "2s"},
        "thresholds": {"default": {kind: {"false_alarms_per_day": 400} for kind in ("event", "window")}},
        "sink": {
            "kafka": {
                "alerts": f"{outputs}.alerts",
                "dead_letters": f"{outputs}.dlq",
                "late": f"{outputs}.late",
                "commit_interval": "100ms",
                "create_topics": True,
            }
        },
    } | (changes or {})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pipeline.yaml"
    path.write_text(json.dumps(sections))
    return Live(kafka, path, topic, outputs)


def wait_until(condition: Callable[[], object], live: Live, seconds: float = 40) -> None:
    """Until it is true; a failure shows what the pipeline's workers logged last."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s:\n{live.log.read_text()[-5000:]}"
        time.sleep(0.05)


def end(worker: "subprocess.Popen[bytes]") -> None:
    """Leave no process behind."""
    if worker.poll() is None:
        worker.kill()
        worker.wait()


def produce_lines(kafka: KafkaForTests, topic: str, lines: Iterable[tuple[str, str]], partitions: int) -> None:
    """(key, line) records as a producer with the default partitioner would place them, in order, all at one moment."""
    with kafka.producer() as producer:
        futures = [
            producer.send(topic, line.encode(), key.encode(), [], partition_of(key.encode(), partitions))
            for key, line in lines
        ]
        for future in futures:
            future.get(60)
