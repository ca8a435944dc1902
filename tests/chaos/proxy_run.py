"""A worker behind the proxy under a schedule of faults, and what is left when the network has healed.

    PYTHONPATH=tests python -m chaos.proxy_run --minutes 10 --seed 1
    PYTHONPATH=tests python -m chaos.proxy_run --each-kind-once --lines 600 --seed 6

prints the schedule as it goes, then the verdict and the longest time of each blocking client call. A run differs
from another one of its seed in the moments at which the faults meet the client's requests.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.proxy import Proxy
from chaos.proxy_schedule import Nemesis, Step, draw_schedule, each_kind_once
from longwatch.pipeline.sources.partitioner import partition_of
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests, broker_module
from support.live import Live, end, make_live

PARTITIONS = 3
HEALED_S = 30.0
SETTINGS = ("source.kafka.poll_records=10",)
NEVER_SEEN = ("web-01", "2026-11-02T23:00:00.000Z ERROR web-01 kernel: panic in module exfil while it held lock 7")


@contextmanager
def proxied_kafka(folder: Path, seed: int) -> Iterator[tuple[KafkaForTests, Proxy]]:
    """A broker of its own: tests reach it directly, and who comes to the proxy's port goes through the proxy."""
    ops = broker_module()
    broker = ops.LocalBroker(folder, ops.fetch(), proxied=1)
    proxy = Proxy(broker.back_port, seed)
    with proxy.running():
        broker.proxied = proxy.port
        broker.start()
        try:
            yield KafkaForTests(broker, broker.bootstrap_servers), proxy
        finally:
            broker.stop()


@dataclass(frozen=True)
class Outcome:
    """What a shaken run and the calm one over the same records left, and how the shaken one got there."""

    shaken: list[tuple[object, ...]]
    calm: list[tuple[object, ...]]
    healed_s: float
    exits: list[int]
    why: list[str]
    stop: tuple[int, float]
    longest: dict[str, float]
    connections: dict[str, int]

    @property
    def doubled(self) -> int:
        """How many outputs are there more than once."""
        return sum(count - 1 for count in Counter(map(repr, self.shaken)).values())

    @property
    def lost(self) -> int:
        """How many of the calm run's outputs are not there."""
        return len(set(map(repr, self.calm)) - set(map(repr, self.shaken)))

    def table(self) -> str:
        """The longest time of each blocking client call."""
        rows = [f"  {kind:<32} {seconds:8.3f} s" for kind, seconds in sorted(self.longest.items())]
        return "\n".join(["longest blocking client calls:", *rows])


@dataclass
class ShakenRun:
    """One worker, started again whenever it leaves, fed a little at a time."""

    live: Live
    lines: list[tuple[str, str]]
    per_tick: int
    exits: list[int] = field(default_factory=list)
    _at: int = 0
    _worker: subprocess.Popen[bytes] | None = None

    def tick(self) -> None:
        """See that a worker runs, and give it its next records."""
        self.supervise()
        broker = self.live.kafka.broker
        if self._at < len(self.lines) and broker.process is not None:  # type: ignore[attr-defined]
            self.produce(self.lines[self._at : self._at + self.per_tick])
            self._at += self.per_tick

    def supervise(self) -> None:
        """Start a worker where none runs."""
        if self._worker is None or (code := self._worker.poll()) is not None:
            if self._worker is not None:
                self.exits.append(code)  # type: ignore[arg-type]
            self._worker = self.live.start(*SETTINGS, until_end=False)

    def produce(self, lines: list[tuple[str, str]]) -> tuple[int, int]:
        """Write the lines past the proxy; partition and offset of the last."""
        with self.live.kafka.producer() as producer:
            futures = [
                producer.send(self.live.topic, line.encode(), key.encode(), [], partition_of(key.encode(), PARTITIONS))
                for key, line in lines
            ]
            found = [future.get(60) for future in futures]
        return found[-1].partition, found[-1].offset

    def seconds_until_alert(self) -> float:
        """How long after now an event alerts that was never seen before."""
        began = time.monotonic()
        at = self.produce([NEVER_SEEN])
        while not any((a.source.partition, a.source.trigger_offset) == at for a in self.live.alerts()):
            self.supervise()
            if time.monotonic() - began > 2 * HEALED_S:
                break
        return time.monotonic() - began

    def stop(self) -> tuple[int, float]:
        """Tell the worker to stop once nothing more comes: its exit code and the seconds that took."""
        self._wait_until_quiet()
        began = time.monotonic()
        assert self._worker is not None
        self._worker.terminate()
        return self._worker.wait(30), time.monotonic() - began

    def end(self) -> None:
        """Leave no process behind."""
        if self._worker is not None:
            end(self._worker)

    def _wait_until_quiet(self) -> None:
        """Until two readings, further apart than silence needs to close windows, are the same."""
        before, deadline, pause = None, time.monotonic() + 60, threading.Event()
        while (now := (self.live.committed_records(), len(self.live.committed_outputs()))) != before:
            assert time.monotonic() < deadline, f"not quiet: {now}"
            before = now
            pause.wait(3)


def run(
    kafka: KafkaForTests, proxy: Proxy, folder: Path, steps: list[Step], lines: int, ticks_a_second: float = 5
) -> Outcome:
    """The schedule over a stream of so many lines, then the healed network, then the same records in peace."""
    topic = kafka.create_topic(PARTITIONS, message_timestamp_type="LogAppendTime")
    shaken = ShakenRun(behind(proxy, kafka, folder, topic), _stream(lines), 0)
    seconds = sum(step.calm_s + step.seconds for step in steps)
    shaken.per_tick = max(1, round(lines / seconds / ticks_a_second))
    try:
        Nemesis(proxy, kafka.broker, folder / "faults.jsonl", shaken.tick, 1 / ticks_a_second).play(steps)
        healed_s = shaken.seconds_until_alert()
        stop = shaken.stop()
    finally:
        shaken.end()
    calm = make_live(kafka, folder / "calm", topic)
    calm.run()
    log = shaken.live.log.read_text()
    return Outcome(
        shaken.live.committed_outputs(),
        calm.committed_outputs(),
        healed_s,
        shaken.exits,
        [line for line in log.splitlines() if line.startswith(("error:", "longwatch:"))],
        stop,
        longest_calls(log),
        dict(proxy.counts),
    )


def longest_calls(log: str) -> dict[str, float]:
    """The most seconds of each kind of call, over all workers that said so when they left."""
    longest: dict[str, float] = {}
    for line in log.splitlines():
        if "longest_client_calls" in line:
            for kind, seconds in re.findall(r"([a-z_]+)=([0-9.]+)", line.partition("longest_client_calls")[2]):
                longest[kind] = max(longest.get(kind, 0.0), float(seconds))
    return longest


def behind(proxy: Proxy, kafka: KafkaForTests, folder: Path, topic: str) -> Live:
    """A pipeline whose workers reach the broker through the proxy only."""
    source = {"bootstrap_servers": [f"127.0.0.1:{proxy.port}"], "topic": topic}
    return make_live(kafka, folder / "shaken", topic, {"source": {"kafka": source}})


def _stream(lines: int) -> list[tuple[str, str]]:
    hours = demo_frame((9, 9 + max(1, -(-lines // 2000))))
    found = list(hours.head(lines).select("entity", "line").iter_rows())
    found.insert(len(found) // 2, ("vpn-01", "no header in this line"))
    return found


def main() -> int:
    """The command line; 0 when everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each-kind-once", action="store_true", help="the short schedule of the default suite")
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--lines", type=int, default=6000)
    given = parser.parse_args()
    steps = draw_schedule(given.seed, given.minutes, given.restarts)
    if given.each_kind_once:
        steps = each_kind_once(given.seed)
    with tempfile.TemporaryDirectory(prefix="longwatch-network-") as scratch:
        folder = Path(scratch)
        with proxied_kafka(folder / "broker", given.seed) as (kafka, proxy):
            done = run(kafka, proxy, folder, steps, given.lines)
        held = done.shaken == done.calm and done.healed_s <= HEALED_S
        sys.stdout.write((folder / "faults.jsonl").read_text())
        if not held:
            sys.stdout.write((folder / "shaken" / "worker.log").read_text()[-20_000:])
    verdict = {
        "seed": given.seed,
        "minutes": given.minutes,
        "steps": len(steps),
        "broker": [step.broker for step in steps if step.broker],
        "outputs": len(done.calm),
        "lost": done.lost,
        "doubled": done.doubled,
        "alert_after_healing_s": round(done.healed_s, 2),
        "exits": done.exits,
        "why": done.why,
        "stop": done.stop,
        "connections": done.connections,
    }
    sys.stdout.write(f"{json.dumps(verdict)}\n{done.table()}\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
