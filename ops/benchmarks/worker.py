"""Lines in a real Kafka to committed alerts, one worker: events a second, and where its time goes.

    PYTHONPATH=tests OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python ops/benchmarks/worker.py --events 200000

All lines are in the topic before the worker starts; the clock runs from its first poll that gives records to its last
commit. `cpu_us_per_event` is the worker's main thread by stage, `cpu_us_per_event_io` its other threads (the client's
network thread). `until: windows` stops after the windows: no scores, no alerts. One JSON line.
"""

import argparse
import itertools
import json
import platform
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chaos.churn import churn
from longwatch.pipeline.assembly import build_engine, open_model
from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.config import load_config
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.kafka_worker import open_kafka_worker
from longwatch.pipeline.sources.partitioner import partition_of
from longwatch.pipeline.worker import Worker, WorkerSettings
from support.kafka_broker import KafkaForTests, running_broker
from support.live import Live, make_live

PARTITIONS = 2
DAYS_MS = 60 * 86_400_000
SECTIONS: dict[str, object] = {
    "windows": {"max_events": 1024, "overlap": 128, "idle_gap": "2h", "max_duration": "1d"},
    "thresholds": {"default": {kind: {"false_alarms_per_day": 1} for kind in ("event", "window")}},
}


@dataclass
class Stages:
    """Seconds of the main thread's CPU by stage; a stage inside another is taken out of the outer one."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inner: list[float] = field(default_factory=list)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted as the stage's."""

        def call(*arguments: Any, **named: Any) -> Any:
            start = time.thread_time()
            self._inner.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                whole, inner = time.thread_time() - start, self._inner.pop()
                self.seconds[name] += whole - inner
                if self._inner:
                    self._inner[-1] += whole

        return call


class Stage:
    """An object with one of its methods timed; everything else is the object's own."""

    def __init__(self, inner: Any, method: str, name: str, stages: Stages) -> None:
        self._inner = inner
        setattr(self, method, stages.timed(name, getattr(inner, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass
class Unscored:
    """In the detector's place: the windows are made, and nothing is asked of them."""

    moves = False

    def detect(self, touched: list[Any], moving: Any, *, keep_scores: bool = False) -> tuple[list[Any], list[Any]]:
        """No outputs: all that is new counts as scored."""
        for item in touched:
            item.window.num_scored = len(item.window.columns)
        return [], []


def staged(engine: Engine, worker: Worker, stages: Stages, until: str) -> None:
    """Time the stages of this engine and worker."""
    detector = Unscored() if until == "windows" else engine._detector
    engine._decoder = Stage(engine._decoder, "decode", "decode", stages)  # type: ignore[assignment]
    engine._templates = Stage(engine._templates, "add", "templates", stages)  # type: ignore[assignment]
    if hasattr(detector, "_scorer"):
        detector._scorer = Stage(detector._scorer, "score", "network", stages)
    engine._detector = Stage(detector, "detect", "detect", stages)  # type: ignore[assignment]
    worker._source = Stage(worker._source, "poll", "poll", stages)  # type: ignore[assignment]
    worker._store = Stage(worker._store, "commit", "commit", stages)  # type: ignore[assignment]
    engine.process = stages.timed("windows", engine.process)  # type: ignore[method-assign]


def fill(kafka: KafkaForTests, topic: str, events: int, entities: int) -> int:
    """Write the lines; gives their bytes."""
    size = 0
    options = {"linger_ms": 50, "batch_size": 256 * 1024, "compression_type": "lz4"}
    with kafka.producer(**options) as producer:
        for key, line in itertools.islice(lines(entities, past_ms()), events):
            producer.send(topic, line, key, [], partition_of(key, PARTITIONS))
            size += len(line)
        producer.flush()
    return size


def past_ms() -> int:
    """An event time far enough back that a run's lines, 100 ms apart, are never in the future."""
    return time.time_ns() // 1_000_000 - DAYS_MS


def lines(entities: int, first_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, line) without an end."""
    for block in churn(first_ms, active=entities):
        yield from block


def measure(live: Live, events: int, until: str) -> dict[str, Any]:
    """One worker from the topic's start to its end."""
    config = load_config(live.config, {})
    engine, stages = build_engine(config, open_model(config)), Stages()
    scorer = config.scorer
    settings = WorkerSettings(0.5, gather_records=scorer.gather_records, gather_s=scorer.gather.seconds)
    with open_kafka_worker(config, engine, SystemClock(), settings, "bench") as worker:
        staged(engine, worker, stages, until)
        while not worker.progress.records:
            stages.seconds.clear()
            started, own, all_ = time.perf_counter(), time.thread_time(), time.process_time()
            worker.step()
        while worker.progress.records < events:
            worker.step()
        worker.commit()
        seconds, own, all_ = time.perf_counter() - started, time.thread_time() - own, time.process_time() - all_
        stages.seconds["rest"] = own - sum(stages.seconds.values())
        return {
            "events_per_second": round(events / seconds),
            "cpu_us_per_event": {name: round(1e6 * spent / events, 2) for name, spent in stages.seconds.items()},
            "cpu_us_per_event_io": round(1e6 * (all_ - own) / events, 2),
            "alerts": worker.progress.alerts,
            "dead_letters": worker.progress.dead_letters,
            "commits": worker.progress.commits,
            "open_windows": engine.num_open_windows,
            "peak_rss_mib": peak_rss_mib(),
        }


def peak_rss_mib() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--entities", type=int, nargs="+", default=[60])
    options.add_argument("--until", choices=("windows", "alerts"), default="alerts")
    options.add_argument("--poll-records", type=int, default=0, help="source.kafka.poll_records; 0 for its default")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running_broker(Path(scratch) / "kafka") as kafka:
        for entities in given.entities:
            topic = kafka.create_topic(PARTITIONS)
            size = fill(kafka, topic, given.events, entities)
            source: dict[str, Any] = {"bootstrap_servers": [kafka.bootstrap_servers], "topic": topic}
            source |= {"poll_records": given.poll_records} if given.poll_records else {}
            changes = {**SECTIONS, "source": {"kafka": source}}
            live = make_live(kafka, Path(scratch) / topic, topic, changes)
            about = {"benchmark": "worker", "until": given.until, "entities": entities, "events": given.events}
            about |= {"bytes_a_line": round(size / given.events), "poll_records": given.poll_records or "default"}
            print(json.dumps({**about, **measure(live, given.events, given.until), **device()}), flush=True)


def device() -> dict[str, Any]:
    """What it ran on."""
    return {
        "device": f"{platform.machine()} CPU, {platform.python_version()}, threads {threading.active_count()}",
        "versions": {name: version(name) for name in ("kafka-python", "numba", "numpy", "onnxruntime", "polars")},
    }


if __name__ == "__main__":
    main()
