"""Workers of one pipeline as processes that can be killed, and the pipeline itself: small windows, quick sessions."""

import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.worker_process import Halt, WorkerProcess
from support.kafka_broker import KafkaForTests
from support.live import Live, make_live

PARTITIONS = 3
SESSION_S = 2.0
DRAIN_S = 5.0
PATIENCE_S = 120.0
SLOWEST_RECORDS_PER_S = 50

SETTINGS = {
    "windows.max_events": 60,
    "windows.overlap": 16,
    "windows.idle_gap": "10m",
    "windows.max_duration": "1h",
    "windows.idle_timeout": "1s",
    "source.kafka.poll_records": 20,
    "source.kafka.client.fetch_max_wait_ms": 20,
    "source.kafka.client.session_timeout_ms": int(SESSION_S * 1000),
    "source.kafka.client.heartbeat_interval_ms": 300,
    "sink.kafka.commit_interval": "20ms",
    "sink.kafka.transaction_timeout": "4s",
}


@dataclass
class Fleet:
    """The workers of one pipeline; all of them are gone when `fleet()` ends."""

    live: Live
    settings: list[str]
    _workers: list[WorkerProcess] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(
        self, instance: str = "w1", *, until_end: bool = False, halt: Halt | None = None, unheard: int = 0
    ) -> WorkerProcess:
        """A worker under this instance name."""
        words = [str(self.live.config), "--instance", instance, *(["--until-end"] if until_end else [])]
        words += [word for setting in self.settings for word in ("--set", setting)]
        trace = self.live.config.with_name(f"trace-{next(self._numbers)}")
        self._workers.append(WorkerProcess(words, self.live.log, trace, halt, unheard))
        return self._workers[-1]

    def run(self, instance: str = "w1") -> WorkerProcess:
        """A worker from start to the end of the input."""
        worker = self.start(instance, until_end=True)
        assert worker.wait(PATIENCE_S) == 0, self.said()
        return worker

    def finish(self, records: int, instance: str = "w1") -> None:
        """Run workers until all of the input is committed and every window closed.

        One is not enough where another static member's session still holds a partition.
        """
        deadline = time.monotonic() + PATIENCE_S + records / SLOWEST_RECORDS_PER_S
        while True:
            worker = self.start(instance, until_end=True)
            assert worker.wait(deadline - time.monotonic()) == 0, self.said()
            if self.committed() == (records, records):
                return

    def committed(self) -> tuple[int, int]:
        """Records below the group's offsets, and records that would not be read again: equal if no window is open."""
        group = json.loads(self.live.config.read_text())["pipeline"]
        with self.live.kafka.admin() as admin:
            found = [at for at in admin.list_group_offsets([group])[group].values() if at.offset >= 0]
        return sum(at.offset for at in found), sum(json.loads(at.metadata)["replay_from"] for at in found)

    def halted(self, halt: Halt, instance: str = "w1") -> WorkerProcess:
        """A worker that has killed or stopped itself at `halt`."""
        worker = self.start(instance, halt=halt)
        self.wait_halted(worker, halt)
        return worker

    def wait_halted(self, worker: WorkerProcess, halt: Halt) -> None:
        """Wait until a worker that was started has reached `halt`."""
        deadline = time.monotonic() + PATIENCE_S
        while not (worker.is_stopped if halt.by == signal.SIGSTOP else worker.wait(0) is not None):
            assert time.monotonic() < deadline, f"{halt} was not reached but {worker.trace.visits}\n{self.said()}"
            time.sleep(0.01)
        assert worker.trace.last == halt.point, f"it left before {halt}\n{self.said()}"

    @property
    def visits(self) -> Counter[str]:
        """How often its workers have been at each point."""
        return sum((worker.trace.visits for worker in self._workers), Counter())

    def said(self) -> str:
        """The end of what the workers logged."""
        return self.live.log.read_text(errors="replace")[-4000:]

    def end(self) -> None:
        """Kill what still runs."""
        for worker in self._workers:
            worker.kill()


@contextmanager
def fleet(kafka: KafkaForTests, folder: Path, topic: str, **settings: object) -> Iterator[Fleet]:
    """A pipeline of its own on `topic`; `settings` are added to `SETTINGS`, two underscores standing for a dot."""
    changed = SETTINGS | {name.replace("__", "."): value for name, value in settings.items()}
    opened = Fleet(make_live(kafka, folder, topic), [f"{name}={value}" for name, value in changed.items()])
    try:
        yield opened
    finally:
        opened.end()
