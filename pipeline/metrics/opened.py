"""From a configuration to metrics that are served, or to none where it has no `metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from typing import Generic, TypeVar, get_args

import structlog

from longwatch.pipeline.alerts import Lifecycle
from longwatch.pipeline.assembly import Model
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config
from longwatch.pipeline.config.metrics import Metrics
from longwatch.pipeline.detection import AlertKind
from longwatch.pipeline.errors import FencedError
from longwatch.pipeline.metrics.families import Collectors
from longwatch.pipeline.metrics.health import Limits, Pulse
from longwatch.pipeline.metrics.relay import RelayMetrics
from longwatch.pipeline.metrics.server import Answers, MetricsServer
from longwatch.pipeline.metrics.worker import WorkerMetrics
from longwatch.pipeline.web.access import access_to

log = structlog.get_logger("longwatch.metrics")

Kept = TypeVar("Kept", WorkerMetrics, RelayMetrics)


@dataclass(frozen=True)
class Opened(Generic[Kept]):
    """Metrics that are served at `port`, None where the address was taken."""

    kept: Kept
    pulse: Pulse
    port: int | None

    @property
    def collectors(self) -> Collectors:
        """Where they are kept."""
        return self.kept.collectors

    def loaded(self, config: Config, model: Model) -> None:
        """The bundle is open: one of the things that make it ready."""
        _begin_alerts(self.collectors, config)
        self.configured(model, config.digest)
        self.pulse.opened = True

    def configured(self, model: Model, config: str) -> None:
        """What the worker goes by from now on."""
        digests = {"bundle": model.bundle.digest, "templates": model.templates.digest, "config": config}
        short = {name: digest[:16] for name, digest in digests.items()}
        self.collectors["longwatch_bundle_info"].info(short)
        self.collectors["longwatch_config_info"].info({"digest": short["config"]})


@contextmanager
def worker_metrics(config: Config, clock: Clock, instance: str) -> Iterator[Opened[WorkerMetrics] | None]:
    """A worker's; raises ConfigError where the token cannot be read."""
    if config.metrics is None:
        yield None
        return
    pulse = Pulse(clock, _limits(config.metrics))
    with _served(config, config.metrics, "worker", instance, WorkerMetrics(pulse, clock), pulse) as opened:
        yield opened


@contextmanager
def relay_metrics(config: Config, clock: Clock, instance: str) -> Iterator[Opened[RelayMetrics] | None]:
    """A relay's, at the address of `relay.metrics`; raises ConfigError where the token cannot be read."""
    section = None if config.relay is None else config.relay.metrics
    if section is None:
        yield None
        return
    pulse = Pulse(clock, _limits(section))
    pulse.opened = True
    kept = RelayMetrics(pulse, clock)
    for target, outcome in product(config.relay.targets if config.relay else (), ("delivered", "failed", "refused")):
        kept.collectors["longwatch_relay_deliveries_total"].labels(target.name, outcome)
    with _served(config, section, "relay", instance, kept, pulse) as opened:
        yield opened


@contextmanager
def _served(
    config: Config, section: Metrics, role: str, instance: str, kept: Kept, pulse: Pulse
) -> Iterator[Opened[Kept]]:
    _describe(kept.collectors, pulse, {"role": role, "pipeline": config.pipeline, "instance": instance})
    server = MetricsServer(section, Answers(kept.collectors.registry, pulse, access_to("metrics", section)))
    server.start()
    if server.port is not None:
        log.info("metrics", address=f"http://{section.host}:{server.port}/metrics")
    try:
        yield Opened(kept, pulse, server.port)
    except FencedError:
        kept.collectors["longwatch_fenced_total"].inc()
        raise
    finally:
        server.close()


def _describe(collectors: Collectors, pulse: Pulse, about: dict[str, str]) -> None:
    collectors["longwatch_up_info"].info({**about, "version": version("longwatch")})
    # Asked when they are read: a loop that stands still cannot say so.
    collectors["longwatch_healthy"].set_function(lambda: float(not pulse.sick()))
    collectors["longwatch_ready"].set_function(lambda: float(not pulse.unready()))
    collectors["longwatch_loop_age_seconds"].set_function(lambda: pulse.age_s)
    collectors["longwatch_uncommitted_seconds"].set_function(lambda: pulse.uncommitted_s)


def _begin_alerts(collectors: Collectors, config: Config) -> None:
    """At 0, so that the first is an increase to Prometheus: of a series that begins at 1 it sees none."""
    named = [("default", config.thresholds.default), *((rule.name, rule) for rule in config.thresholds.rules)]
    for (name, limits), kind in product(named, get_args(AlertKind)):
        if getattr(limits, kind) is not None:
            for lifecycle in get_args(Lifecycle):
                collectors["longwatch_alerts_total"].labels(name, kind, lifecycle)


def _limits(section: Metrics) -> Limits:
    return Limits(section.stalled_after.seconds, section.unready_after.seconds)
