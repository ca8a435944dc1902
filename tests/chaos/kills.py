"""Kills a pipeline's two workers at random moments while its input grows, and compares what is left with a calm run.

make chaos-kills KILLS=1000 SEED=1
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos.fleet import DRAIN_S, PARTITIONS, PATIENCE_S, SESSION_S, Fleet, fleet
from chaos.outcome import Difference, Outcome, outcome
from chaos.stream import Stream
from chaos.worker_process import STARTING, UNANSWERED, Halt, WorkerProcess
from longwatch.pipeline.steps import Step
from support.kafka_broker import KafkaForTests, running_broker

INSTANCES = ("w1", "w2")
LINES_PER_S = 50
TICK_S = 0.02
LIFE = 3
"""The longest life, in times of how long a worker takes to its first record."""
RESTARTED = (75, 76)
IN_TRANSACTION = (Step.BEGUN, Step.PRODUCED, Step.FLUSHED, Step.OFFSETS_SENT, UNANSWERED)


@dataclass
class Plan:
    """When each life ends and how long the next one waits, drawn from the seed."""

    draw: random.Random
    longest_life_s: float

    def life_s(self) -> float:
        """Anything from a process that has just begun to one that has committed a few times."""
        return self.draw.uniform(0, self.longest_life_s)

    def absence_s(self) -> float:
        """Mostly none; one in six stays away for longer than its session, so that the other worker takes over."""
        return SESSION_S * self.draw.uniform(1.1, 1.6) if self.draw.random() < 1 / 6 else 0.0

    def takes_other(self) -> bool:
        """One kill in eight ends both workers at one moment."""
        return self.draw.random() < 1 / 8


@dataclass
class Killed:
    """What the kills hit, by the step that the worker had reached last, and what ended without being killed."""

    at: Counter[str] = field(default_factory=Counter)
    by_themselves: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Kills so far."""
        return sum(self.at.values())

    @property
    def in_transaction(self) -> int:
        """Kills that left a transaction open, or its answer unread."""
        return sum(self.at[step] for step in IN_TRANSACTION)


class Supervised:
    """One instance: its worker, and when that is to be killed or started again."""

    def __init__(self, fleet: Fleet, instance: str, plan: Plan, killed: Killed) -> None:
        self._fleet, self._instance, self._plan, self._killed = fleet, instance, plan, killed
        self._worker: WorkerProcess | None = None
        self._until = 0.0

    def tick(self, now: float) -> bool:
        """Start what is due; True if it is time to kill the worker."""
        if self._worker is None:
            if now >= self._until:
                self._worker = self._fleet.start(self._instance)
                self._until = now + self._plan.life_s()
            return False
        code = self._worker.wait(0)
        if code is not None:
            assert code in RESTARTED, f"{self._instance} left with {code}\n{self._fleet.said()}"
            self._killed.by_themselves[code] += 1
            self._worker = None
            return False
        return now >= self._until

    def kill(self, now: float) -> None:
        """SIGKILL, and note what it hit."""
        if self._worker is None:
            return
        self._worker.kill()
        self._killed.at[self._worker.trace.last] += 1
        self._worker, self._until = None, now + self._plan.absence_s()

    def drain(self) -> None:
        """SIGTERM: it must leave in time, with 0 once it listens to signals."""
        if self._worker is not None:
            self._worker.send(signal.SIGTERM)
            code, last = self._worker.wait(DRAIN_S), self._worker.trace.last
            assert code == 0 or (code, last) == (-signal.SIGTERM, STARTING), (
                f"drained with {code}\n{self._fleet.said()}"
            )


def shake(fleet: Fleet, stream: Stream, kills: int, plan: Plan) -> Killed:
    """Kill until so many kills are done, while the stream goes on; the last workers are told to drain."""
    killed = Killed()
    workers = [Supervised(fleet, instance, plan, killed) for instance in INSTANCES]
    began, deadline = time.monotonic(), time.monotonic() + PATIENCE_S + kills * 5
    while killed.count < kills:
        now = time.monotonic()
        assert now < deadline, f"{killed} in time\n{fleet.said()}"
        stream.produce(int((now - began) * LINES_PER_S) - stream.produced)
        due = [worker for worker in workers if worker.tick(now)]
        for worker in workers if due and plan.takes_other() else due:
            worker.kill(now)
        time.sleep(TICK_S)
    for worker in workers:
        worker.drain()
    return killed


def seconds_to_begin(fleet: Fleet) -> float:
    """How long a worker takes here from its start to its first record, once the fork server is up."""
    fleet.halted(Halt(Step.OPENED))
    began = time.monotonic()
    fleet.halted(Halt(Step.SOUGHT))
    return time.monotonic() - began


@dataclass(frozen=True)
class Report:
    """One run: what was killed where, what was written, and how it differs from the calm run."""

    seed: int
    killed: Killed
    lines: int
    seconds: float
    expected: Outcome
    difference: Difference

    def as_json(self) -> str:
        """One line."""
        counts = {name: len(found) for name, found in vars(self.difference).items()}
        hits = {"kills": self.killed.count, "in_transaction": self.killed.in_transaction, "at": self.killed.at}
        rest = {"left_by_themselves": self.killed.by_themselves, "lines": self.lines, "outputs": self.expected.kinds}
        return json.dumps({"seed": self.seed, **hits, **rest, **counts, "seconds": round(self.seconds, 1)})


def run(kafka: KafkaForTests, folder: Path, kills: int, seed: int) -> Report:
    """The whole trial on a topic of its own."""
    began = time.monotonic()
    topic = kafka.create_topic(PARTITIONS)
    stream = Stream(kafka, topic, PARTITIONS, seed)
    with fleet(kafka, folder / "shaken", topic) as shaken, fleet(kafka, folder / "calm", topic) as calm:
        plan = Plan(random.Random(seed), LIFE * seconds_to_begin(shaken))
        killed = shake(shaken, stream, kills, plan)
        stream.close()
        shaken.finish(stream.produced)
        calm.finish(stream.produced)
        expected = outcome(calm.live)
        difference = outcome(shaken.live).against(expected)
    return Report(seed, killed, stream.produced, time.monotonic() - began, expected, difference)


def main() -> int:
    """Prints the report; 1 if anything was lost, doubled, unexpected or changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="longwatch-kills-") as scratch,
        running_broker(Path(scratch) / "broker") as kafka,
    ):
        report = run(kafka, Path(scratch), given.kills, given.seed)
    sys.stdout.write(f"{report.as_json()}\n")
    return int(bool(report.difference))


if __name__ == "__main__":
    sys.exit(main())
