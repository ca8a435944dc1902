"""`longwatch run pipeline.yaml`: the live worker, on Kafka or embedded, until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from longwatch.pipeline.assembly import build_engine, open_model, window_rules
from longwatch.pipeline.bundles import Bundles
from longwatch.pipeline.clock import Clock, SystemClock
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.configured_settings import recorded_settings
from longwatch.pipeline.console import settle_logging
from longwatch.pipeline.embedded_worker import open_embedded_worker
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.kafka_watchdog import EXIT_CODE
from longwatch.pipeline.memory import give_memory_back
from longwatch.pipeline.onlookers import Onlookers, opened_onlookers
from longwatch.pipeline.reloading import Reloader, opened_reloader
from longwatch.pipeline.steps import Observer, unobserved
from longwatch.pipeline.watch import Watch
from longwatch.pipeline.web.live_page import opened_page
from longwatch.pipeline.worker import Worker, WorkerSettings

log = structlog.get_logger("longwatch.run")

DRAIN_SECONDS = 4.5


def run(
    config: Path,
    overrides: Mapping[str, str],
    until_end: bool,
    instance: str | None,
    max_seconds: float | None,
    observe: Observer = unobserved,
) -> int:
    """Reads records, scores them, commits alerts; SIGTERM and SIGINT finish the batch in hand and commit it.

    `observe` is told the steps of a worker on Kafka.
    """
    give_memory_back()
    loaded = load_config(config, overrides)
    settle_logging(loaded.logging)
    clock, name = SystemClock(), instance or ""
    with (
        stopped_by_signals(max_seconds, DRAIN_SECONDS) as stop,
        opened_onlookers(loaded, clock, name, stop.is_set) as onlookers,
    ):
        model = open_model(loaded)
        onlookers.loaded(loaded, model)
        bundles, told = Bundles(loaded, model), onlookers.reload_told()
        reloader = opened_reloader(config, overrides, loaded, model, clock.monotonic, told, bundles)
        settings = recorded_settings(loaded, model, (), bundles) if reloader is not None else None
        engine = build_engine(loaded, model, instance=name, timed=onlookers.timed, settings=settings)
        opened = _Opening(loaded, engine, clock, _settings(loaded, until_end), instance, observe, reloader)
        with opened_page(loaded, model, engine.marks, clock, name) as page, opened.worker(onlookers, page) as worker:
            digests = {"config": loaded.digest[:16], "bundle": model.bundle.digest[:16]}
            log.info("started", pipeline=loaded.pipeline, **digests)
            done = worker.run(stop)
    log.info(
        "stopped",
        records=done.records,
        alerts=done.alerts,
        dead_letters=done.dead_letters,
        late=done.late,
        commits=done.commits,
    )
    return 0


@contextmanager
def stopped_by_signals(
    max_seconds: float | None = None, drain_seconds: float | None = None
) -> Iterator[threading.Event]:
    """An event that SIGTERM, SIGINT or the passing of `max_seconds` sets.

    With `drain_seconds`, a process that has not ended so long after it leaves with 75: a broker that does not answer
    must not hold up a shutdown, and what was not committed is done again by the next start.
    """
    stop, drained = threading.Event(), threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    timer = None if max_seconds is None else threading.Timer(max_seconds, stop.set)
    if timer is not None:
        timer.daemon = True
        timer.start()
    if drain_seconds is not None:
        threading.Thread(target=_leave_when_late, args=(stop, drained, drain_seconds), daemon=True).start()
    try:
        yield stop
    finally:
        drained.set()
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_when_late(stop: threading.Event, drained: threading.Event, seconds: float) -> None:
    stop.wait()
    if not drained.wait(seconds):
        log.error("stopped_amid_work", action="leaving with 75; what is not committed is done again by the next start")
        os._exit(EXIT_CODE)


@dataclass(frozen=True)
class _Opening:
    """What a worker is made of, whichever it is."""

    config: Config
    engine: Engine
    clock: Clock
    settings: WorkerSettings
    instance: str | None
    observe: Observer
    reloader: Reloader | None

    @contextmanager
    def worker(self, onlookers: Onlookers, page: Watch) -> Iterator[Worker]:
        """On Kafka or embedded, as the sink says."""
        watch, timed = onlookers.with_page(page), onlookers.timed
        if self.config.sink.kafka is not None:
            from longwatch.pipeline.kafka_worker import open_kafka_worker

            with open_kafka_worker(
                self.config,
                self.engine,
                self.clock,
                self.settings,
                self.instance,
                self.observe,
                watch=watch,
                timed=timed,
                settings_source=self.reloader,
            ) as worker:
                yield worker
        else:
            with open_embedded_worker(
                self.config, self.engine, self.clock, self.settings, watch=watch, timed=timed
            ) as worker:
                yield worker


def _settings(config: Config, until_end: bool) -> WorkerSettings:
    return WorkerSettings(
        commit_interval_s=_commit_interval_s(config),
        gather_records=config.scorer.gather_records,
        gather_s=config.scorer.gather.seconds,
        until_end=until_end,
        idle_timeout_ms=window_rules(config.windows).idle_timeout_ms,
    )


def _commit_interval_s(config: Config) -> float:
    return config.sink.kafka.commit_interval.seconds if config.sink.kafka is not None else 0.5
