"""Scores over time: bands of the whole stream, and the highest event score of each entity."""

from __future__ import annotations

from typing import Any

import polars as pl

from longwatch.pipeline.report_page.history import History, bin_of, shown, step_of

TIME_BINS = 160
HEAT_BINS = 48
HEAT_ENTITIES = 30
MAX_INCIDENTS = 500
MAX_LINES = 6


def timeline(history: History) -> dict[str, Any]:
    """Median, 90 % quantile and highest score of the windows as they stood in each stretch of time; incidents."""
    start, step = history.period[0], step_of(history.period, TIME_BINS)
    scores = pl.col("window_score")
    levels = [scores.median(), scores.quantile(0.9), scores.max()]
    figures = [level.round(3).alias(name) for level, name in zip(levels, ("median", "high", "highest"), strict=True)]
    bins = history.scores.group_by(bin_of(start, step, TIME_BINS)).agg(*figures).sort("bin").collect()
    rows = [list(row) for row in bins.iter_rows()]
    lines = {
        shown(life[-1].rule): round(life[-1].threshold.value, 2) for life in history.alerts if life[-1].kind == "window"
    }
    thresholds = sorted(lines.items())[:MAX_LINES]
    return {"start": start, "step": step, "bins": rows, "incidents": _spans(history), "thresholds": thresholds}


def _spans(history: History) -> list[list[Any]]:
    """[entity, start, end] of the incidents, or of the windows of anomalous entities; the first ones of very many."""
    if history.truth is None:
        return []
    known = history.truth.anomalous if history.truth.by_time else history.marked.filter("anomalous")
    low, high = history.period
    inside = known.filter((pl.col("end_ms") >= low) & (pl.col("start_ms") <= high)).sort("start_ms", "entity")
    rows = inside.select("entity", "start_ms", "end_ms").head(MAX_INCIDENTS).iter_rows()
    return [[history.entity(entity), max(start, low), min(end, high)] for entity, start, end in rows]


def heat(history: History) -> dict[str, Any]:
    """Highest event score of each entity in each stretch of time; those with most alerts first, then by score."""
    start, step = history.period[0], step_of(history.period, HEAT_BINS)
    windows = history.windows.group_by("entity").agg(pl.col("alerted").sum(), pl.col("score").max())
    chosen = windows.sort("alerted", "score", "entity", descending=[True, True, False]).head(HEAT_ENTITIES)
    names = chosen["entity"].to_list()
    cells = (
        history.scores.filter(pl.col("entity").is_in(names))
        .group_by("entity", bin_of(start, step, HEAT_BINS))
        .agg(pl.col("event_score").max().round(2))
        .sort("entity", "bin")
        .collect()
    )
    rows: dict[str, list[float | None]] = {name: [None] * HEAT_BINS for name in names}
    for entity, place, score in cells.iter_rows():
        rows[entity][place] = score
    entities = [[history.entity(name), alerted] for name, alerted in chosen.select("entity", "alerted").iter_rows()]
    return {"start": start, "step": step, "entities": entities, "rows": list(rows.values()), "of": len(windows)}
