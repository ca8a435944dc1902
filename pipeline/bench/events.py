"""Rows of events with times as a benchmark case: windows of fixed length per entity, the past before a moment."""

from pathlib import Path

import polars as pl

from longwatch.model.bench.case import Case
from longwatch.model.bench.truth import SealedTruth
from longwatch.pipeline.bench.cells import Cells
from longwatch.pipeline.bench.files import column, find_files, read_table
from longwatch.pipeline.bench.moment import split_ms
from longwatch.pipeline.bench.set_file import EventTable, EventTime, Words, Wrong
from longwatch.pipeline.decode.timestamps import TimestampReader
from longwatch.pipeline.errors import InputError


def event_cases(table: EventTable, folder: Path, name: str) -> list[Case]:
    """One case of all files, or one of each."""
    paths = find_files(folder, table.files)
    if not table.each_file:
        return [_case(pl.concat([_rows(path, table) for path in paths]), table, name)]
    return [_case(_rows(path, table), table, f"{name}/{path.name.split('.')[0]}") for path in paths]


def _case(rows: pl.DataFrame, table: EventTable, name: str) -> Case:
    """Windows of the past that hold an event known to be wrong are left out whole."""
    moment = split_ms(table.split, rows["time_ms"], rows["ends_past"] != "")
    cell = pl.col("time_ms") // table.window.ms
    rows = rows.with_columns(cell=cell, is_past=pl.col("time_ms") < moment)
    past, test = rows.filter("is_past"), rows.filter(~pl.col("is_past"))
    dirty = (pl.col("wrong") != "").any().over("entity", "cell")
    cleaned = past.filter(dirty).select("entity", "cell").n_unique()
    clean = Cells.of(past.filter(~dirty), table.max_events, table.context)
    judged = Cells.of(test, table.max_events, table.context)
    if len(clean) < 4 or not len(judged):
        raise InputError(f"{name}: {len(clean)} normal windows before the split, {len(judged)} after it", "move it")
    sealed = SealedTruth(judged.truth() if table.anomalous else None)
    return Case(name, clean.units(), judged.units(), sealed, cleaned)


def _rows(path: Path, table: EventTable) -> pl.DataFrame:
    """Columns time_ms, entity, event, and wrong and ends_past: a label that names what is not normal, else empty."""
    frame = read_table(path)
    return pl.DataFrame(
        {
            "time_ms": _times(frame, table.time, path),
            "entity": _joined(frame, table.entity, path),
            "event": _joined(frame, table.event, path),
            "wrong": _labels(frame, table.anomalous, path),
            "ends_past": _labels(frame, table.split.before_first, path),
        }
    ).drop_nulls("time_ms")


def _joined(frame: pl.DataFrame, names: Words, path: Path) -> pl.Series:
    parts = [column(frame, name, path).alias(str(number)) for number, name in enumerate(names)]
    return pl.select(pl.concat_str(parts, separator=" ")).to_series()


def _labels(frame: pl.DataFrame, wrong: Wrong | None, path: Path) -> pl.Series:
    if wrong is None:
        return pl.Series([""]).new_from_index(0, len(frame))
    labels = column(frame, wrong.column, path)
    return labels.set(labels.is_in(list(wrong.normal)), "")


def _times(frame: pl.DataFrame, time: EventTime, path: Path) -> pl.Series:
    """Epoch milliseconds, of the first column that holds any; a row without a time is left out."""
    reader, unknown = TimestampReader(time.format), pl.Series([-1]).new_from_index(0, len(frame))
    columns = [column(frame, name, path) for name in time.column]
    found = pl.select(pl.coalesce(*(reader.read(texts, unknown) for texts in columns))).to_series()
    if found.null_count() == len(found):
        raise InputError(f"{path}: {', '.join(time.column)} holds no {time.format} times", f"first: {columns[0][0]}")
    return found
