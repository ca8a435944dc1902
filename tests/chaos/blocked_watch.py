"""A worker looked at from outside while its sink is blocked: its memory and CPU, the group's offsets and members."""

import json
import os
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from chaos.soak import process_samples
from chaos.stream import Stream
from kafka import KafkaAdminClient
from support.live import Live

LOOK_S = 0.25
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One look: seconds of a monotonic clock, MiB, seconds of CPU, input records written and committed."""

    at: float
    rss_mib: float
    cpu_s: float
    written: int
    committed: int


@dataclass
class Feeder:
    """Writes the stream's lines at a steady rate, each when it is due, however the worker fares."""

    stream: Stream
    rate: int
    began: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """A second's lines at once, so that there is something to join for; time counts from now."""
        self.began = time.monotonic() - 1
        self.feed()

    def feed(self) -> None:
        """Write what is due by now."""
        self.stream.produce(int((time.monotonic() - self.began) * self.rate) - self.stream.produced)


@dataclass
class Watched:
    """One worker process under one feeder; every look feeds, too, so that there is one clock."""

    live: Live
    worker: "Popen[bytes]"
    feeder: Feeder
    admin: KafkaAdminClient
    samples: list[Sample] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    _next: float = 0.0

    def until(self, condition: Callable[[], bool], seconds: float, *, feeding: bool = True) -> bool:
        """Look on until the condition holds, or for so long; whether it came to hold."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            assert self.worker.poll() is None, self.said()
            if feeding:
                self.feeder.feed()
            self._look()
            time.sleep(0.02)
        return True

    def stay(self, seconds: float) -> float:
        """Look on for so long; when that began."""
        began = time.monotonic()
        self.until(lambda: False, seconds)
        return began

    @property
    def last(self) -> Sample:
        """The last look."""
        return self.samples[-1]

    def between(self, first: float, last: float) -> list[Sample]:
        """The looks of that time."""
        times = [sample.at for sample in self.samples]
        return self.samples[bisect_left(times, first) : bisect_left(times, last)]

    def said(self) -> str:
        """The end of what the worker logged."""
        return self.live.log.read_text(errors="replace")[-6000:]

    def progress(self) -> dict[str, int]:
        """What the worker said of itself last."""
        lines = [line for line in self.live.log.read_bytes().splitlines() if b'"progress"' in line]
        return dict(json.loads(lines[-1])) if lines else {}

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_S
        group = json.loads(self.live.config.read_text())["pipeline"]
        offsets = self.admin.list_group_offsets([group])[group].values()
        described = self.admin.describe_groups([group])[group]
        self.members |= {member["member_id"] for member in described["members"]}
        committed = sum(at.offset for at in offsets if at.offset > 0)
        rss, cpu = process_samples(self.worker.pid)["rss_mib"], cpu_seconds(self.worker.pid)
        self.samples.append(Sample(now, rss, cpu, self.feeder.stream.produced, committed))


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has used, in its own code and in the kernel."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS
