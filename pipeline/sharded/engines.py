"""What runs the parts of a backtest: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

from longwatch.pipeline.errors import LongwatchError, UsageError
from longwatch.pipeline.sharded.shard import Done, Task, run_part


class Pool(Protocol):
    """Runs tasks and gives (number of the task, what it gave) as they end."""

    @property
    def processes(self) -> int:
        """How many run at once."""
        ...

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Done]]:
        """Raises the LongwatchError of a task that failed, and one of its own for a process that died."""
        ...


class PartLostError(LongwatchError):
    """A process died on its part of the history."""

    @classmethod
    def of(cls, what: str) -> PartLostError:
        """With what is to be done about it."""
        return cls(f"a process of the backtest died: {what}", "most often memory: fewer at once with --processes")


@dataclass(frozen=True)
class Processes:
    """Of this machine."""

    processes: int

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Done]]:
        """Each task in a process that shares nothing with this one."""
        with ProcessPoolExecutor(self.processes, get_context("spawn")) as pool:
            numbers = {pool.submit(run_part, task): number for number, task in enumerate(tasks)}
            try:
                for future in as_completed(numbers):
                    yield numbers[future], future.result()
            except BrokenProcessPool as error:
                raise PartLostError.of(str(error)) from error


def pool_of(engine: str, processes: int | None) -> Pool:
    """The pool that the command line asks for; raises UsageError for one that is not known or not installed."""
    if engine == "processes":
        return Processes(processes or os.cpu_count() or 1)
    if engine == "ray":
        from longwatch.pipeline.sharded.on_ray import RayCluster

        return RayCluster.open(processes)
    raise UsageError(f"--engine {engine}: expected local, processes or ray", "local is this process alone")
