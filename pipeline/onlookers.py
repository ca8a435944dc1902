"""Who looks on while a worker runs, beside the live page: metrics, traces, and the supervisor that started it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from longwatch.pipeline.assembly import Model
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config
from longwatch.pipeline.reloading import Told
from longwatch.pipeline.stages import Timed, timed_by
from longwatch.pipeline.supervisor import supervisor
from longwatch.pipeline.tracing.opened import opened_traces
from longwatch.pipeline.watch import Watch, Watches

if TYPE_CHECKING:
    from longwatch.pipeline.metrics.opened import Opened
    from longwatch.pipeline.metrics.worker import WorkerMetrics


@dataclass(frozen=True)
class Onlookers:
    """What the worker tells them all, and what they put around its stages."""

    watches: tuple[Watch, ...]
    timed: Timed
    metrics: Opened[WorkerMetrics] | None

    def with_page(self, page: Watch) -> Watch:
        """All of them and the live page."""
        return Watches((*self.watches, page))

    def reload_told(self) -> Told:
        """Who is told of a configuration that is taken over, or is not."""
        metrics = self.metrics
        if metrics is None:
            return Told()
        failed = metrics.collectors["longwatch_reload_failures_total"].inc
        return Told(metrics.configured, failed)

    def loaded(self, config: Config, model: Model) -> None:
        """The bundle is open."""
        if self.metrics is not None:
            self.metrics.loaded(config, model)


@contextmanager
def opened_onlookers(config: Config, clock: Clock, instance: str, draining: Callable[[], bool]) -> Iterator[Onlookers]:
    """Opened before the bundle is, so that health can say that it is not there yet; `draining`: told to stop."""
    with _metrics(config, clock, instance) as metrics, opened_traces(config.tracing, config, instance) as traces:
        watches: list[Watch] = [*supervisor(clock)]
        timers: list[Timed] = []
        if metrics is not None:
            metrics.pulse.draining = draining
            watches.append(metrics.kept)
            timers.append(metrics.kept.timed)
        if traces is not None:
            watches.append(traces)
            timers.append(traces.timed)
        yield Onlookers(tuple(watches), timed_by(timers), metrics)


@contextmanager
def _metrics(config: Config, clock: Clock, instance: str) -> Iterator[Opened[WorkerMetrics] | None]:
    """A worker that serves none does not load what serves them."""
    if config.metrics is None:
        yield None
        return
    from longwatch.pipeline.metrics.opened import worker_metrics

    with worker_metrics(config, clock, instance) as metrics:
        yield metrics
