"""A worker looked at from outside while its sink is blocked: its memory and CPU, the group's offsets and members."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from subprocess import Popen

from kafka import KafkaAdminClient

from chaos.soak import process_samples
from chaos.stream import Stream
from support.live import Live

LOOK_S = 0.25
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Look:
    """What was seen at one moment: MiB, seconds of CPU so far, input records written and committed so far."""

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
    _began: float = 0.0

    def begin(self) -> None:
        """A second's lines at once, so that there is something to read; the rate counts from now."""
        self._began = time.monotonic() - 1
        self.feed()

    def feed(self) -> None:
        """Write what is due by now."""
        self.stream.produce(int((time.monotonic() - self._began) * self.rate) - self.stream.produced)


@dataclass
class Watched:
    """One worker process under one feeder."""

    live: Live
    worker: "Popen[bytes]"
    feeder: Feeder
    admin: KafkaAdminClient
    looks: list[Look] = field(default_factory=list)
    members: set[str] = field(default_factory=set)

    def stay(self, seconds: float) -> list[Look]:
        """Feed and look on for so long; what was seen."""
        return self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], seconds: float, *, feeding: bool = True) -> list[Look]:
        """Look on until the condition holds, or for so long; what was seen."""
        before, deadline, due = len(self.looks), time.monotonic() + seconds, 0.0
        while time.monotonic() < deadline and not condition():
            assert self.worker.poll() is None, self.said()
            if feeding:
                self.feeder.feed()
            if time.monotonic() >= due:
                due = time.monotonic() + LOOK_S
                self._look()
            time.sleep(0.02)
        return self.looks[before:]

    @property
    def behind(self) -> int:
        """Records that were written and not committed, at the last look."""
        return self.looks[-1].written - self.looks[-1].committed

    def said(self) -> str:
        """The end of what the worker logged."""
        return self.live.log.read_text(errors="replace")[-6000:]

    def _look(self) -> None:
        group = json.loads(self.live.config.read_text())["pipeline"]
        written = self.feeder.stream.produced
        offsets = self.admin.list_group_offsets([group])[group].values()
        self.members |= {member["member_id"] for member in self.admin.describe_groups([group])[group]["members"]}
        committed = sum(at.offset for at in offsets if at.offset > 0)
        rss_mib = process_samples(self.worker.pid)["rss_mib"]
        self.looks.append(Look(time.monotonic(), rss_mib, cpu_seconds(self.worker.pid), written, committed))


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has used, in its own code and in the kernel."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS_PER_S


def said_between(log: Path, first: float, last: float) -> list[dict[str, object]]:
    """The worker's lines of that time, by the clock on the wall."""
    lines = [json.loads(line) for line in log.read_bytes().splitlines() if line.startswith(b"{")]
    return [line for line in lines if first <= datetime.fromisoformat(line["timestamp"]).timestamp() <= last]
