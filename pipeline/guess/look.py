"""Looks at a log file: which layout reads it, whose behaviour its lines hold, when they were written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config.format import Entity, Format
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.guess.layouts import Layout, Yaml, layouts
from longwatch.pipeline.records import RECORD_SCHEMA
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.sources.local import end_of_day_ms

SAMPLE, MOST_LINES = 5_000, 1_000_000
GOOD = 0.95
PATTERNS: tuple[tuple[str, Yaml], ...] = (
    ("a block id in the message", {"pattern": r"blk_-?\d+"}),
    ("a session id in the message", {"pattern": r"(?i)session[ =:_-]*(?P<entity>[0-9a-f-]{4,})"}),
    ("a request id in the message", {"pattern": r"\breq-[0-9a-f-]{8,}"}),
)
WHOLE: tuple[str, Yaml] = ("one name for all lines: nothing tells them apart well", {"value": "log"})
EVENTS_EACH = 3


@dataclass(frozen=True)
class Look:
    """What was found; `read` is the share of lines that the layout reads, `why` says why the entity was chosen."""

    layout: Layout
    read: float
    entity: Yaml
    why: str
    lines: int
    entities: int
    times: pl.Series
    written: date | None = None


def look(path: Path, clock: Clock) -> Look:
    """Tries every layout and entity with the decoder itself on the first lines, then reads the file with the best.

    Raises:
        InputError: no layout reads half of the lines.
    """
    frame = _lines(path, clock)
    if frame.is_empty():
        raise InputError(f"{path} has no lines", "give a log file with some thousand lines")
    sample = frame.head(SAMPLE)
    layout, read = _best_layout(path, sample)
    why, entity = _best_entity(layout, sample)
    decoder = _decoder(layout, entity)
    events, written = decoder.decode(frame).events, None
    if decoder.format.year_from_arrival and len(events):
        written = datetime.fromtimestamp(events["event_time_ms"][-1] / 1000, UTC).date()
        arrived = frame.with_columns(pl.lit(end_of_day_ms(written)).alias("timestamp_ms"))
        events = decoder.decode(arrived).events
    times = events["event_time_ms"]
    return Look(layout, read, entity, why, len(frame), events["entity"].n_unique(), times, written)


def _lines(path: Path, clock: Clock) -> pl.DataFrame:
    source = FilesSource([path], TopicShape.of([path]), arrival_ms=clock.now_ms(), poll_records=MOST_LINES)
    with closing(source):
        batches = source.poll()
    return batches[0].frame if batches else RECORD_SCHEMA.to_frame()


def _best_layout(path: Path, sample: pl.DataFrame) -> tuple[Layout, float]:
    texts = [value.decode(errors="replace") for value in sample["value"].head(20)]
    best: tuple[float, Layout | None] = (0.0, None)
    for layout in layouts(texts):
        read = len(_decoder(layout, WHOLE[1]).decode(sample).events) / len(sample)
        if read > best[0]:
            best = read, layout
        if read >= GOOD:
            break
    if best[1] is None or best[0] < 0.5:
        raise InputError(
            f"{path}: no known layout reads it; its first line is {texts[0][:120]!r}",
            "`longwatch init DIR --format text` writes a start in which you say what a line looks like",
        )
    return best[1], best[0]


def _best_entity(layout: Layout, sample: pl.DataFrame) -> tuple[str, Yaml]:
    """The first of patterns, then of the layout's own, that most lines have and that splits them into stretches."""
    single = None
    for why, entity in (*PATTERNS, *layout.entities):
        names = _decoder(layout, entity).decode(sample).events["entity"]
        if len(names) < GOOD * len(sample):
            continue
        distinct = names.n_unique()
        if 1 < distinct <= len(names) / EVENTS_EACH:
            return f"{why}: {distinct:,} of them in {len(sample):,} lines", entity
        if distinct == 1 and single is None:
            single = f"{why}: one for all lines", entity
    return single or WHOLE


def _decoder(layout: Layout, entity: Yaml) -> Decoder:
    return Decoder(Format.model_validate(layout.format), Entity.model_validate(entity))
