"""`longwatch run pipeline.yaml`: the live worker, on Kafka or embedded, until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog

from longwatch.pipeline.assembly import build_engine, open_model, window_rules
from longwatch.pipeline.clock import Clock, SystemClock
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.embedded_worker import open_embedded_worker
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.kafka_watchdog import EXIT_CODE
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
    loaded = load_config(config, overrides)
    model, clock = open_model(loaded), SystemClock()
    engine = build_engine(loaded, model, instance=instance or "")
    settings = WorkerSettings(
        commit_interval_s=_commit_interval_s(loaded),
        gather_records=loaded.scorer.gather_records,
        gather_s=loaded.scorer.gather.seconds,
        until_end=until_end,
        idle_timeout_ms=window_rules(loaded.windows).idle_timeout_ms,
    )
    with (
        stopped_by_signals(max_seconds, DRAIN_SECONDS) as stop,
        opened_page(loaded, model, engine.marks, clock, instance or "") as watch,
        _worker(loaded, engine, clock, settings, instance, observe, watch) as worker,
    ):
        log.info("started", pipeline=loaded.pipeline, config=loaded.digest[:16])
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


@contextmanager
def _worker(
    config: Config,
    engine: Engine,
    clock: Clock,
    settings: WorkerSettings,
    instance: str | None,
    observe: Observer,
    watch: Watch,
) -> Iterator[Worker]:
    if config.sink.kafka is not None:
        from longwatch.pipeline.kafka_worker import open_kafka_worker

        with open_kafka_worker(config, engine, clock, settings, instance, observe, watch=watch) as worker:
            yield worker
    else:
        with open_embedded_worker(config, engine, clock, settings, watch=watch) as worker:
            yield worker


def _commit_interval_s(config: Config) -> float:
    return config.sink.kafka.commit_interval.seconds if config.sink.kafka is not None else 0.5
