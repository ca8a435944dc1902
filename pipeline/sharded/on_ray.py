"""Parts of a backtest as tasks of a Ray cluster: the one of RAY_ADDRESS, else one of this machine alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from longwatch.pipeline.errors import LongwatchError, UsageError
from longwatch.pipeline.sharded.engines import PartLostError
from longwatch.pipeline.sharded.shard import Done, Task, run_part

RETRIES = 3
_DIED = ("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError", "ObjectLostError", "LocalRayletDiedError")


@dataclass(frozen=True)
class RayCluster:
    """A cluster that this process has joined; a task whose worker dies is run again."""

    ray: Any
    processes: int

    @classmethod
    def open(cls, processes: int | None) -> Self:
        """Joins the cluster of RAY_ADDRESS, or starts one on the loopback address; UsageError without Ray."""
        # Before Ray is imported: it reads them then.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = os.environ.get("RAY_ADDRESS")
        if not address:
            # Else it takes 127.0.0.1 for an oversight, and listens on every address of the machine.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        try:
            import ray
        except ImportError as error:
            raise UsageError("--engine ray: Ray is not installed", "pip install 'longwatch[ray]'") from error
        if address:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        else:
            ray.init(
                address="local",
                num_cpus=processes or os.cpu_count() or 1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                _node_ip_address="127.0.0.1",
            )
        return cls(ray, processes or max(1, int(ray.cluster_resources().get("CPU", 1))))

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Done]]:
        """One CPU a task."""
        remote = self.ray.remote(num_cpus=1, max_retries=RETRIES)(run_part)
        try:
            waiting = {remote.remote(task): number for number, task in enumerate(tasks)}
            while waiting:
                (ref,), _ = self.ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(ref), self._result(ref)
        finally:
            self.ray.shutdown()

    def _result(self, ref: Any) -> Done:
        try:
            done: Done = self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, LongwatchError):
                raise error.cause from None
            raise
        except self.ray.exceptions.RayError as error:
            if type(error).__name__ in _DIED:
                raise PartLostError.of(f"{type(error).__name__}, after {RETRIES} more tries") from error
            raise
        return done
