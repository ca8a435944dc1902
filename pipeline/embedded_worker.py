"""A worker without a broker: files or standard input in, one SQLite database out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from longwatch.pipeline.alert_formats.choice import AlertFormat, render
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.errors import ConfigError, StateError
from longwatch.pipeline.feedback.mark_file import FileMarkLog
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.sinks.embedded import Deliver, EmbeddedStore
from longwatch.pipeline.sinks.streams import LineFile, LineStream
from longwatch.pipeline.sources.local import open_local
from longwatch.pipeline.stages import Timed, untimed
from longwatch.pipeline.steering import Steering
from longwatch.pipeline.watch import UNWATCHED, Watch
from longwatch.pipeline.worker import Worker, WorkerSettings


@contextmanager
def open_embedded_worker(
    config: Config,
    engine: Engine,
    clock: Clock,
    settings: WorkerSettings,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    deliver: list[Deliver] | None = None,
    watch: Watch = UNWATCHED,
    timed: Timed = untimed,
) -> Iterator[Worker]:
    """A worker with its partitions assigned; `deliver` also gets every committed alert.

    Raises:
        StateError: the database is in use or another program's. InputError: a file cannot be read.
        ConfigError: the source is a topic.
    """
    sink = config.sink.embedded
    if sink is None:
        raise StateError("an embedded worker needs sink.embedded", "`longwatch validate` shows what is set")
    if config.source.kafka is not None:
        raise ConfigError("`sink.embedded` cannot keep the offsets of `source.kafka`", "write alerts to `sink.kafka`")
    receivers: list[Deliver] = list(deliver or [])
    if sink.file is not None:
        receivers.append(_in_form(LineFile(sink.file), sink.format))
    if sink.stdout:
        receivers.append(_in_form(LineStream(sys.stdout), sink.format))
    source = open_local(config, clock)
    store = EmbeddedStore(sink.database, receivers)
    marks = None if config.feedback is None else FileMarkLog(config.feedback.file, engine.marks)
    worker = Worker(
        source,
        engine,
        store,
        clock,
        settings,
        on_progress=on_progress,
        watch=watch,
        steering=Steering(marks),
        timed=timed,
    )
    try:
        worker.assigned(source.partitions)
        yield worker
    finally:
        store.close()
        source.close()


def _in_form(deliver: Deliver, form: AlertFormat) -> Deliver:
    return lambda values: deliver([render(value, form) for value in values])
