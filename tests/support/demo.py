"""The shipped demo bundle and stretches of the demo's log: real input for tests of the pipeline."""

from functools import cache
from importlib.resources import files
from pathlib import Path

import polars as pl

from longwatch.pipeline.assembly import Model, build_engine, open_model
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY, generate
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.records import RECORD_SCHEMA, Partition, RecordBatch

HOME = Path(str(files("longwatch.pipeline.demo")))
ARRIVAL_MS = 1_800_000_000_000
LOGS = Partition("logs", "topic-uuid", 0)

SMALL_WINDOWS: dict[str, object] = {"max_events": 200, "overlap": 32, "idle_gap": "20m", "max_duration": "1d"}
"""Of a file's `windows` section."""

# Small windows and low thresholds, so that a few thousand lines give many windows and alerts of every lifecycle.
BUSY = {
    "windows.max_events": "200",
    "windows.overlap": "32",
    "windows.idle_gap": "20m",
    "windows.allowed_lateness": "2s",
    "thresholds.default.event.false_alarms_per_day": "400",
    "thresholds.default.window.false_alarms_per_day": "400",
}


def demo_config(overrides: dict[str, str] | None = None) -> Config:
    return load_config(HOME / "demo.yaml", {"bundle": str(HOME / "bundle"), **(overrides or {})})


@cache
def demo_model() -> Model:
    return open_model(demo_config())


def demo_engine(config: Config, *, keep_scores: bool = False) -> Engine:
    return build_engine(config, demo_model(), instance="test", keep_scores=keep_scores)


@cache
def demo_frame(hours: tuple[int, int] = (9, 11)) -> pl.DataFrame:
    """Lines of the demo period's hours [first, last) as (event_time_ms, entity, line, incident)."""
    parts = generate(7, DEMO_FIRST_DAY, 1.5, incidents=True, deploy=True)
    return pl.concat([part for at, part in enumerate(parts) if hours[0] <= at < hours[1]])


def as_records(lines: list[bytes | None], first_offset: int = 0) -> pl.DataFrame:
    count = len(lines)
    columns = {
        "offset": range(first_offset, first_offset + count),
        "timestamp_ms": [ARRIVAL_MS] * count,
        "key": [None] * count,
        "value": lines,
    }
    return pl.DataFrame(columns, schema=RECORD_SCHEMA)


def batch(frame: pl.DataFrame, partition: Partition = LOGS, next_offset: int | None = None) -> RecordBatch:
    after = int(frame["offset"][-1]) + 1 if len(frame) else 0
    return RecordBatch(partition, frame, after if next_offset is None else next_offset)
