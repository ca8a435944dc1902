"""A worker as a process: the real command line, watched step by step; forked where its modules are loaded already."""

import ctypes
import functools
import mmap
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from longwatch.pipeline.steps import Step

UNANSWERED = "unanswered"
"""A crash point that only the client library sees: the broker has committed, its answer has not been read."""

POINTS = (*Step, UNANSWERED)
STARTING = "starting"
PR_SET_PDEATHSIG = 1

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "__main__",
        "chaos.worker_process",
        "longwatch.pipeline.commands.run",
        "longwatch.pipeline.kafka_worker",
        "onnxruntime",
    ]
)


@dataclass(frozen=True)
class Halt:
    """Send itself the signal `by` at the `visit`-th time that `point` is reached, counted from 1."""

    point: str
    visit: int = 1
    by: int = signal.SIGKILL


class Trace:
    """How often each point was reached and which one was the last, in memory that outlives a killed process."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(4 * (len(POINTS) + 1)))
        with path.open("r+b") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), 0)).cast("I")

    def reached(self, point: str) -> int:
        """Note it; gives how often it has been reached."""
        place = POINTS.index(point) + 1
        self._counts[0] = place
        self._counts[place] += 1
        return self._counts[place]

    @property
    def last(self) -> str:
        """The point reached last; `starting` where none was."""
        return str(POINTS[self._counts[0] - 1]) if self._counts[0] else STARTING

    @property
    def visits(self) -> Counter[str]:
        """Visits of the points that were reached."""
        return Counter(
            {str(point): self._counts[place] for place, point in enumerate(POINTS, 1) if self._counts[place]}
        )


class WorkerProcess:
    """One running `longwatch run`; `words` are its arguments, `log` takes what it prints.

    `unheard` is the number of the commit, from 1, whose answer does not reach it; 0 for none.
    """

    def __init__(self, words: list[str], log: Path, trace: Path, halt: Halt | None = None, unheard: int = 0) -> None:
        self.trace = Trace(trace)
        arguments = (words, log, trace, halt, unheard)
        self._process: ForkServerProcess = _SERVER.Process(target=_work, args=arguments, daemon=True)
        self._process.start()

    def send(self, number: signal.Signals) -> None:
        """A signal to the process."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, whatever it is doing, and wait for its end."""
        self._process.kill()
        self._process.join()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, minus the signal's number if one ended it; None if it still runs after so long."""
        self._process.join(seconds)
        return self._process.exitcode

    @property
    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _work(words: list[str], log: Path, trace: Path, halt: Halt | None, unheard: int) -> None:
    """Runs in the forked process: nothing of the product differs but the observer that `run` is given."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)
    from longwatch.pipeline.cli import main
    from longwatch.pipeline.commands import run

    watched = Trace(trace)
    observe = _observer(watched, halt)
    run.run = functools.partial(run.run, observe=observe)
    _tell_unanswered(observe, lambda: watched.visits[UNANSWERED] == unheard)
    sys.exit(main(["run", *words]))


def _observer(trace: Trace, halt: Halt | None) -> Callable[[str], None]:
    def observe(point: str) -> None:
        visit = trace.reached(point)
        if halt is not None and (point, visit) == (halt.point, halt.visit):
            os.kill(os.getpid(), halt.by)

    return observe


def _tell_unanswered(observe: Callable[[str], None], is_unheard: Callable[[], bool]) -> None:
    """Have the client tell when the broker's answer to a commit has come, before anything is made of it, if it is."""
    from kafka.producer.transaction_manager import EndTxnHandler

    handle = EndTxnHandler.handle_response

    def told(self: EndTxnHandler, response: object) -> None:
        if self.request.committed and not response.error_code:
            observe(UNANSWERED)
            if is_unheard():
                return
        handle(self, response)

    EndTxnHandler.handle_response = told
