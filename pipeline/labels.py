"""Ground truth for backtests: which entities, or which stretches of them, were anomalous."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from longwatch.pipeline.errors import InputError

NORMAL = ("normal", "0", "false", "benign", "-", "")


@dataclass(frozen=True)
class Labels:
    """`anomalous` has entity, start_ms and end_ms (both null where the whole entity is); `by_time` says which it is."""

    anomalous: pl.DataFrame
    by_time: bool

    def mark(self, windows: pl.DataFrame) -> pl.DataFrame:
        """Windows (entity, start_ms, end_ms, ...) with a Boolean column `anomalous`."""
        if not self.by_time:
            return windows.with_columns(pl.col("entity").is_in(self.anomalous["entity"].implode()).alias("anomalous"))
        marked = windows.with_row_index("window").join(self.anomalous, on="entity", how="inner", suffix="_incident")
        overlap = (pl.col("start_ms_incident") <= pl.col("end_ms")) & (pl.col("end_ms_incident") >= pl.col("start_ms"))
        hit = marked.filter(overlap)["window"].unique()
        return windows.with_columns(pl.int_range(pl.len()).is_in(hit.implode()).alias("anomalous"))


def read_labels(path: Path) -> Labels:
    """From CSV: `entity,label` (or block_id,label), or `entity,start,end` with ISO 8601 times for incidents.

    Raises:
        InputError: cannot be read, has other columns, or a time that is none.
    """
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: labels cannot be read: {error}", "give a CSV file with a header") from error
    if "entity" not in table.columns:
        table = table.rename({table.columns[0]: "entity"})
    if {"start", "end"} <= set(table.columns):
        times = [_times_ms(path, table[name]) for name in ("start", "end")]
        return Labels(table.select("entity", *times), by_time=True)
    if "label" not in table.columns:
        raise InputError(
            f"{path}: columns are {', '.join(table.columns)}",
            "name them entity,label (label `Normal` or another word), or entity,start,end",
        )
    bad = table.filter(~pl.col("label").fill_null("").str.to_lowercase().is_in(NORMAL))
    nothing = pl.lit(None, pl.Int64)
    return Labels(bad.select("entity", nothing.alias("start_ms"), nothing.alias("end_ms")), by_time=False)


def _times_ms(path: Path, texts: pl.Series) -> pl.Series:
    """A column's ISO 8601 times as epoch ms, UTC where they name no zone."""
    times = []
    for line, text in enumerate(texts, 2):
        try:
            moment = datetime.fromisoformat(text or "")
        except ValueError as error:
            hint = "write it as 2026-11-24T08:00:00Z or 2026-11-24"
            raise InputError(f"`{text}` in column {texts.name} is no time", hint, source=f"{path}:{line}") from error
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        times.append(int(aware.timestamp() * 1000))
    return pl.Series(f"{texts.name}_ms", times, pl.Int64)
