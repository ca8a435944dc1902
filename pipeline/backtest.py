"""The worker's own loop over past records, and what came of it: every score, every alert, and what they amount to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import msgspec
import polars as pl

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.masking.alert import masked
from longwatch.pipeline.masking.masker import NOTHING, Masker
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.records import Partition
from longwatch.pipeline.score_log import SCORE_SCHEMA
from longwatch.pipeline.sinks.memory import MemoryStore
from longwatch.pipeline.sources import BoundedSource
from longwatch.pipeline.worker import Worker, WorkerSettings

ROWS_PER_FILE = 1_000_000


class ScoreFiles:
    """Score frames as Parquet files of about a million rows, so that memory stays bounded however long the history."""

    def __init__(self, folder: Path) -> None:
        # Entities and new templates stand here as they came: for their owner alone.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._frames: list[pl.DataFrame] = []
        self._rows = 0
        self._files = 0

    def __call__(self, frames: list[pl.DataFrame]) -> None:
        """Take the frames of one batch."""
        self._frames += frames
        self._rows += sum(len(frame) for frame in frames)
        if self._rows >= ROWS_PER_FILE:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        frame = pl.concat([pl.DataFrame(schema=SCORE_SCHEMA), *self._frames])
        frame.write_parquet(self._folder / f"part-{self._files:05d}.parquet", compression="zstd")
        self._files, self._frames, self._rows = self._files + 1, [], 0


@dataclass(frozen=True)
class Replay:
    """What a replay gave: alert messages in the order of partition and trigger, and a lazy frame over every score."""

    alerts: list[Alert]
    scores: pl.LazyFrame
    progress: Progress


def replay(
    source: BoundedSource,
    engine: Engine,
    clock: Clock,
    folder: Path,
    *,
    idle_timeout_ms: int | None,
    on_progress: Callable[[Progress], None] | None = None,
    masker: Masker = NOTHING,
) -> Replay:
    """Run a bounded source to its end through the worker's loop; scores and alerts are written to `folder`.

    Alerts are written masked, as the worker sends them; scores stay as they are, for `explain` reads them again.
    """
    outputs, progress = run_through(
        source, engine, clock, folder / "scores", idle_timeout_ms=idle_timeout_ms, on_progress=on_progress
    )
    return written([output.value for output in outputs], progress, folder, masker)


def run_through(
    source: BoundedSource,
    engine: Engine,
    clock: Clock,
    scores: Path,
    *,
    idle_timeout_ms: int | None,
    on_progress: Callable[[Progress], None] | None = None,
    partitions: Sequence[Partition] | None = None,
) -> tuple[list[Output], Progress]:
    """Alert messages of the source's partitions, or of some of them; every score goes into files of that folder."""
    # Dead letters and late events are counted only: a wrong `format` makes one of every line of the history.
    store, files = MemoryStore([Kind.ALERT]), ScoreFiles(scores)
    settings = WorkerSettings(commit_interval_s=0.0, idle_timeout_ms=idle_timeout_ms)
    worker = Worker(source, engine, store, clock, settings, on_scores=files, on_progress=on_progress)
    worker.assigned(source.partitions if partitions is None else partitions)
    progress = worker.run(Event())
    files.flush()
    return store.of(Kind.ALERT), progress


def written(messages: Sequence[bytes], progress: Progress, folder: Path, masker: Masker) -> Replay:
    """Writes the alerts beside the scores that are there already, and gives both."""
    alerts = sorted((msgspec.json.decode(message, type=Alert) for message in messages), key=place_of)
    alert_frame([masked(alert, masker) for alert in alerts]).write_parquet(folder / "alerts.parquet")
    return Replay(alerts, pl.scan_parquet(folder / "scores" / "*.parquet"), progress)


def place_of(alert: Alert) -> tuple[str, int, int, bool, str, int]:
    """Its place in the one order of a history's messages, whatever the batches and however many processes read it.

    What a record or a silence ends comes before what holds the record; a window's own messages stay as they are.
    """
    source, window = alert.source, alert.window
    holds_trigger = window.last_offset >= source.trigger_offset
    place = (source.topic, source.partition, source.trigger_offset, holds_trigger)
    return (*place, alert.entity, window.first_offset)


def alert_frame(alerts: list[Alert]) -> pl.DataFrame:
    """Alert messages as columns, one row a message; top events, and the whole message, as JSON."""
    rows = [
        (
            alert.alert_id,
            alert.revision,
            alert.lifecycle,
            alert.rule,
            alert.kind,
            alert.entity,
            alert.score,
            alert.threshold.value,
            alert.source.topic,
            alert.source.partition,
            alert.source.trigger_offset,
            alert.window.first_offset,
            alert.window.start_time,
            alert.window.end_time,
            alert.window.num_events,
            msgspec.json.encode(alert.top_events).decode(),
            alert.encode().decode(),
        )
        for alert in alerts
    ]
    return pl.DataFrame(rows, schema=_ALERT_SCHEMA, orient="row")


_ALERT_SCHEMA = pl.Schema(
    {
        "alert_id": pl.String,
        "revision": pl.Int64,
        "lifecycle": pl.String,
        "rule": pl.String,
        "kind": pl.String,
        "entity": pl.String,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "topic": pl.String,
        "partition": pl.Int64,
        "trigger_offset": pl.Int64,
        "first_offset": pl.Int64,
        "start_time": pl.String,
        "end_time": pl.String,
        "num_events": pl.Int64,
        "top_events": pl.String,
        "message": pl.String,
    }
)
