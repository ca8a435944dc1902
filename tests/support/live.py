"""A pipeline on the tests' broker: its topics, its configuration, its worker processes, and what they left behind."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from ruamel.yaml import YAML

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.sources.partitioner import partition_of
from support.demo import HOME
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

    def alerts(self) -> list[Alert]:
        """Every committed alert message."""
        return [msgspec.json.decode(record.value, type=Alert) for record in self.kafka.read(f"{self.outputs}.alerts")]

    def committed_records(self) -> int:
        """How many input records the group has committed."""
        group = json.loads(self.config.read_text())["pipeline"]
        with self.kafka.admin() as admin:
            return sum(at.offset for at in admin.list_group_offsets([group])[group].values() if at.offset > 0)


def make_live(kafka: KafkaForTests, folder: Path, topic: str, changes: dict[str, object] | None = None) -> Live:
    """A pipeline of its own on `topic`: the demo's configuration with small windows; `changes` replaces sections."""
    outputs = kafka.name("out")
    sections = YAML(typ="safe").load(HOME / "demo.yaml")
    sections |= {
        "pipeline": kafka.name("pipeline"),
        "source": {"kafka": {"bootstrap_servers": [kafka.bootstrap_servers], "topic": topic}},
        "bundle": str(HOME / "bundle"),
        "windows": {"max_events": 200, "overlap": 32, "idle_gap": "20m", "max_duration": "1d", "idle_timeout": "2s"},
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


def produce_lines(kafka: KafkaForTests, topic: str, lines: Iterable[tuple[str, str]], partitions: int) -> None:
    """(key, line) records as a producer with the default partitioner would place them, in order, all at one moment."""
    with kafka.producer() as producer:
        futures = [
            producer.send(topic, line.encode(), key.encode(), [], partition_of(key.encode(), partitions))
            for key, line in lines
        ]
        for future in futures:
            future.get(60)
