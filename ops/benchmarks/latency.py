"""How long after a line was due in the topic the commit that holds its outputs is done, at a set rate of lines.

    PYTHONPATH=tests:.cache/bench OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 \\
        python ops/benchmarks/latency.py --rate 10000 --seconds 60

Open loop: line n is due at start + n / rate whether or not the lines before it were taken in time, and its latency is
counted from then (no coordinated omission). Every event counts, with an alert or without: an alert is committed with
its trigger's offset. `late_ms` is how far the feeder itself fell behind. The lines of the first `--warm` seconds do not
count. Needs hdrhistogram; one JSON line, with the whole histogram (HdrHistogram's own encoding, microseconds).
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray
from worker import PARTITIONS, SECTIONS, device, lines, past_ms, peak_rss_mib

from longwatch.pipeline.assembly import build_engine, open_model
from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.config import load_config
from longwatch.pipeline.kafka_worker import open_kafka_worker
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sources.partitioner import partition_of
from longwatch.pipeline.worker import WorkerSettings
from support.kafka_broker import KafkaForTests, running_broker
from support.live import Live, make_live

TICK_S = 0.005
START_AFTER_S = 4.0
LONGEST_US = 600_000_000


def feed(
    servers: str, topic: str, entities: int, first_ms: int, rate: int, number: int, start: float, late: Any
) -> None:
    """Send each line when it is due, in a process of its own; `late` gets the most that one was sent after that."""
    kafka = KafkaForTests(None, servers)
    with kafka.producer(linger_ms=2, batch_size=64 * 1024, compression_type="lz4") as producer:
        for n, (key, line) in enumerate(islice(lines(entities, first_ms), number)):
            while (behind := time.monotonic() - start - n / rate) < 0:
                time.sleep(min(-behind, TICK_S))
            late.value = max(late.value, behind)
            producer.send(topic, line, key, [], partition_of(key, PARTITIONS))
        producer.flush()


def due_by_partition(entities: int, first_ms: int, rate: int, number: int) -> list[NDArray[np.float64]]:
    """When the record at each offset of each partition is due, in seconds after the start."""
    keys = (key for key, _ in islice(lines(entities, first_ms), number))
    places = np.fromiter((partition_of(key, PARTITIONS) for key in keys), np.int64, number)
    return [np.flatnonzero(places == each) / rate for each in range(PARTITIONS)]


class Latencies:
    """In the store's place: after each commit, the latency of every record that it is the first to hold."""

    def __init__(self, store: Any, due: list[NDArray[np.float64]], start: float, warm_s: float) -> None:
        self._store = store
        self._due = due
        self._start = start
        self._warm_s = warm_s
        self._done = [0] * len(due)
        self.histogram = HdrHistogram(1, LONGEST_US, 3)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def num_committed(self) -> int:
        """Records so far."""
        return sum(self._done)

    def commit(self, outputs: list[Any], positions: dict[Partition, Any]) -> None:
        """The store's commit, and the time when it was done."""
        self._store.commit(outputs, positions)
        now = time.monotonic() - self._start
        for partition, position in positions.items():
            due = self._due[partition.partition][self._done[partition.partition] : position.next_offset]
            self._done[partition.partition] = max(self._done[partition.partition], position.next_offset)
            self._record(now - due[due >= self._warm_s])

    def _record(self, seconds: NDArray[np.float64]) -> None:
        for microseconds, count in zip(*np.unique((seconds * 1e6).astype(np.int64), return_counts=True), strict=True):
            self.histogram.record_value(int(microseconds), int(count))


def measure(live: Live, given: argparse.Namespace) -> dict[str, Any]:
    """One worker beside one feeder."""
    number, first_ms = given.rate * given.seconds, past_ms()
    due = due_by_partition(given.entities, first_ms, given.rate, number)
    config = load_config(live.config, {})
    engine, scorer = build_engine(config, open_model(config)), config.scorer
    settings = WorkerSettings(
        given.commit_ms / 1000, gather_records=scorer.gather_records, gather_s=scorer.gather.seconds
    )
    with open_kafka_worker(config, engine, SystemClock(), settings, "bench") as worker:
        processes = multiprocessing.get_context("spawn")
        start, late = time.monotonic() + START_AFTER_S, processes.Value("d", 0.0)
        arguments = (
            live.kafka.bootstrap_servers,
            live.topic,
            given.entities,
            first_ms,
            given.rate,
            number,
            start,
            late,
        )
        feeder = processes.Process(target=feed, args=arguments, daemon=True)
        feeder.start()
        store = worker._store = Latencies(worker._store, due, start, given.warm)  # type: ignore[assignment]
        while store.num_committed < number:
            worker.step()
        seconds = time.monotonic() - start
        feeder.join()
        return figures(store.histogram) | {
            "events_per_second": round(number / seconds),
            "late_ms": round(late.value * 1000, 1),
            "alerts": worker.progress.alerts,
            "commits": worker.progress.commits,
            "peak_rss_mib": peak_rss_mib(),
        }


def figures(histogram: HdrHistogram) -> dict[str, Any]:
    """Percentiles in milliseconds, and the histogram itself."""
    shares = (50, 90, 99, 99.9, 100)
    found = {f"p{share:g}_ms": round(histogram.get_value_at_percentile(share) / 1000, 1) for share in shares}
    return {"counted": histogram.get_total_count(), **found, "histogram": histogram.encode().decode()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rate", type=int, default=10_000)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--warm", type=float, default=10)
    options.add_argument("--entities", type=int, default=60)
    options.add_argument("--commit-ms", type=int, default=100, help="sink.kafka.commit_interval")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running_broker(Path(scratch) / "kafka") as kafka:
        topic = kafka.create_topic(PARTITIONS)
        live = make_live(kafka, Path(scratch) / topic, topic, SECTIONS)
        about = {"benchmark": "latency", **vars(given)}
        print(json.dumps({**about, **measure(live, given), **device()}), flush=True)


if __name__ == "__main__":
    main()
