"""A sink that takes nothing for minutes while records go on coming: what the worker holds, and how it comes back.

make blocked SECONDS=600 SEED=1 KIND=half_open RATE=1000

A proxy stands between the producer and the broker; the source reaches the broker past it, so the worker could read on
and must stay in its group. Prints one JSON line; exit code 1 unless all of it holds: partitions pause, memory is flat,
no eviction, catch-up at 5 times the arrival, order kept for each entity, nothing lost, nothing doubled.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from chaos.blocked_watch import Feeder, Look, Watched, said_between
from chaos.blocked_worker import records_read
from chaos.outcome import Difference, Outcome, outcome
from chaos.proxy import Fault, Kind, Proxy
from chaos.proxy_run import proxied_kafka
from chaos.stream import Stream
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY
from support.demo import SMALL_WINDOWS
from support.kafka_broker import KafkaForTests
from support.live import Live, end, make_live, wait_until

WORKER = Path(__file__).with_name("blocked_worker.py")
PARTITIONS = 3
PATIENCE_S = 180.0
FACTOR = 5.0
MORE_MIB = 32.0
"""What a worker may hold beyond its peak before the block: the noise of an allocator."""

CHANGES: dict[str, object] = {"windows": SMALL_WINDOWS}
FEEDING = {"linger_ms": 20, "batch_size": 128 * 1024, "compression_type": "lz4"}


@dataclass(frozen=True)
class Trial:
    """How long the sink is blocked, in which way, and under how many records a second."""

    seconds: float
    seed: int = 1
    rate: int = 1000
    kind: Kind = "half_open"

    @property
    def calm_s(self) -> float:
        """How long is looked on before the block, and after the catch-up."""
        return min(60.0, max(3.0, self.seconds / 4))

    @property
    def noticed_s(self) -> float:
        """After so long a commit that was on its way has been given up: nothing is read from then on."""
        return min(15.0, self.seconds / 2)


@dataclass(frozen=True)
class Course:
    """What was seen, phase by phase, and what was left."""

    trial: Trial
    looks: dict[str, list[Look]]
    evicted: int
    read_while_blocked: int
    lines_while_blocked: int
    exit_code: int
    expected: Outcome
    difference: Difference
    out_of_order: int

    @property
    def factor(self) -> float:
        """Records committed between the release and having caught up, in times of what arrived meanwhile."""
        first, last = self.looks["blocked"][-1], self.looks["catch_up"][-1]
        return (last.committed - first.committed) / max(1, last.written - first.written)

    @property
    def holds(self) -> dict[str, bool]:
        """Each promise."""
        peaks = {phase: max(look.rss_mib for look in found) for phase, found in self.looks.items()}
        return {
            "paused": self.read_while_blocked == 0,
            "memory_flat": peaks["blocked"] <= peaks["before"] + MORE_MIB,
            "not_evicted": self.evicted == 0,
            "caught_up": self.factor >= FACTOR,
            "in_order": self.out_of_order == 0,
            "nothing_lost_or_doubled": not self.difference,
            "left_with_0": self.exit_code == 0,
        }

    def report(self) -> dict[str, Any]:
        """One line of JSON."""
        blocked, caught = self.looks["blocked"], self.looks["catch_up"]
        resumed = next((look.at for look in caught if look.committed > blocked[-1].committed), caught[-1].at)
        return {
            "benchmark": "blocked_sink",
            **vars(self.trial),
            "records": self.looks["after"][-1].written,
            "outputs": self.expected.kinds,
            "backlog": blocked[-1].written - blocked[-1].committed,
            "read_while_blocked": self.read_while_blocked,
            "log_lines_while_blocked": self.lines_while_blocked,
            "rss_mib": {phase: _mib(found) for phase, found in self.looks.items()},
            "cpu_cores": {phase: _cores(found) for phase, found in self.looks.items()},
            "evictions": self.evicted,
            "first_commit_after_s": round(resumed - blocked[-1].at, 1),
            "caught_up_after_s": round(caught[-1].at - blocked[-1].at, 1),
            "catch_up_factor": round(self.factor, 1),
            **{name: len(found) for name, found in vars(self.difference).items()},
            "out_of_order": self.out_of_order,
            "exit_code": self.exit_code,
            "holds": self.holds,
        }


def _mib(looks: Sequence[Look]) -> dict[str, int]:
    held = [look.rss_mib for look in looks]
    return {name: round(of(held)) for name, of in (("median", statistics.median), ("peak", max))}


def _cores(looks: Sequence[Look]) -> float:
    first, last = looks[0], looks[-1]
    return round((last.cpu_s - first.cpu_s) / max(last.at - first.at, 1e-9), 3)


def run(kafka: KafkaForTests, proxy: Proxy, folder: Path, trial: Trial, *settings: str) -> Course:
    """Undisturbed, blocked, released until it has caught up, undisturbed again; then a calm run of the same records."""
    live = make_live(kafka, folder / "blocked", kafka.create_topic(PARTITIONS), CHANGES)
    with watched(live, proxy, trial, settings) as seen:
        looks = {"before": seen.stay(trial.calm_s)}
        members = set(seen.members)
        proxy.apply(Fault(trial.kind))
        blocked_at = time.time()
        looks["blocked"] = seen.stay(trial.seconds)
        lines = len(said_between(live.log, blocked_at, time.time()))
        read = records_read(live.config.with_name("read"), blocked_at + trial.noticed_s, time.time())
        proxy.heal()
        looks["catch_up"] = seen.until(lambda: seen.behind <= trial.rate, PATIENCE_S)
        looks["after"] = seen.stay(trial.calm_s)
        seen.feeder.stream.flush()
        seen.until(lambda: seen.looks[-1].committed == seen.feeder.stream.produced, PATIENCE_S, feeding=False)
        seen.worker.terminate()
        code = seen.worker.wait(30)
    calm = make_live(kafka, folder / "calm", live.topic, CHANGES)
    calm.run()
    expected = outcome(calm)
    return Course(
        trial,
        looks,
        len(seen.members - members),
        read,
        lines,
        code,
        expected,
        outcome(live).against(expected),
        out_of_order(live),
    )


@contextmanager
def watched(live: Live, proxy: Proxy, trial: Trial, settings: Sequence[str]) -> Iterator[Watched]:
    """A worker whose producer is behind the proxy, once it has committed for the first time; and its feeder."""
    words = [sys.executable, "-P", str(WORKER), str(proxy.port), str(live.config.with_name("read"))]
    words += [
        "--log-format",
        "json",
        "run",
        str(live.config),
        "--instance",
        "w1",
        *(word for each in settings for word in ("--set", each)),
    ]
    # The stream's days go on for as long as it is fed; what lies in the future would be a dead letter.
    first_day = DEMO_FIRST_DAY - timedelta(days=90)
    stream = Stream(live.kafka, live.topic, PARTITIONS, trial.seed, first_day, **FEEDING)
    with live.log.open("wb") as log, live.kafka.admin() as admin:
        worker = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            seen = Watched(live, worker, Feeder(stream, trial.rate), admin)
            seen.feeder.begin()
            wait_until(lambda: live.committed_records() > 0, live)
            yield seen
        finally:
            stream.close()
            proxy.heal()
            end(worker)


def out_of_order(live: Live) -> int:
    """Alert messages that stand behind one of their entity that a later record has triggered."""
    last: dict[tuple[int, str], int] = {}
    wrong = 0
    for alert in live.alerts():
        entity, trigger = (alert.source.partition, alert.entity), alert.source.trigger_offset
        wrong += trigger < last.get(entity, 0)
        last[entity] = max(trigger, last.get(entity, 0))
    return wrong


def main() -> int:
    """The command line; 0 when everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--kind", choices=get_args(Kind), default="half_open")
    trial = Trial(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory(prefix="longwatch-blocked-") as scratch:
        folder = Path(scratch)
        with proxied_kafka(folder / "broker", trial.seed) as (kafka, proxy):
            course = run(kafka, proxy, folder, trial)
        if not all(course.holds.values()):
            sys.stderr.write((folder / "blocked" / "worker.log").read_text()[-20_000:])
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(course.report() | machine) + "\n")
    return int(not all(course.holds.values()))


if __name__ == "__main__":
    sys.exit(main())
