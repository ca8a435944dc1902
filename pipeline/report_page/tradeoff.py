"""Alerts a day against incidents caught: our scores at every threshold, and the cheap floors on the same windows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from longwatch.model.baselines import FLOORS
from longwatch.pipeline.labels import Labels
from longwatch.pipeline.report import DAY_MS, tokens_of
from longwatch.pipeline.report_page.history import History

POINTS = 60


class Point(NamedTuple):
    """What one threshold gives; `caught` is None where no truth is known."""

    threshold: float
    alerts_per_day: float
    caught: int | None


def tradeoff(history: History) -> dict[str, Any]:
    """A curve for each way of scoring, as [threshold, alerts a day, incidents caught], and the point that was run."""
    windows, truth = history.windows, history.truth
    days = max(1, history.period[1] - history.period[0]) / DAY_MS
    curves = {"longwatch": curve(windows, truth, days)}
    if truth is not None:
        tokens = tokens_of(history.all_scores, windows, history.texts)
        for name, floor in FLOORS.items():
            scored = windows.with_columns(pl.Series("score", floor(history.bundle.evidence, tokens)))
            curves[name] = [row for row in curve(scored, truth, days) if row.threshold > 0]
    raised = windows.with_columns(pl.col("alerted").cast(pl.Float64).alias("score"))
    chosen = [row for row in curve(raised, truth, days) if row.threshold > 0]
    incidents = None if truth is None else len(incident_scores(windows, truth))
    return {
        "curves": curves,
        "chosen": (chosen[0] if chosen else Point(0, 0, None if truth is None else 0))[1:],
        "incidents": incidents,
        "days": round(days, 4),
    }


def curve(windows: pl.DataFrame, truth: Labels | None, days: float) -> list[Point]:
    """What the windows' scores give at thresholds from the highest score down to the median; the strictest first."""
    scores = windows["score"].to_numpy()
    shares = np.geomspace(0.5, 0.5 / max(1, len(scores)), POINTS)
    thresholds = np.unique(np.append(np.quantile(scores, 1 - shares, method="higher"), scores.max()))[::-1]
    caught = None if truth is None else incident_scores(windows, truth)
    rows = []
    for threshold in thresholds:
        alerts = int(np.count_nonzero(scores >= threshold))
        hit = None if caught is None else int(np.count_nonzero(caught >= threshold))
        rows.append(Point(round(float(threshold), 4), round(alerts / days, 4), hit))
    return rows


def incident_scores(windows: pl.DataFrame, truth: Labels) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Highest score of the windows that each known incident touches; of each anomalous entity where none has times."""
    if not truth.by_time:
        hit = truth.mark(windows).filter("anomalous").group_by("entity").agg(pl.col("score").max())
        return hit["score"].to_numpy().astype(np.float64)
    incidents = truth.anomalous.with_row_index("incident")
    pairs = windows.join(incidents, on="entity", how="inner", suffix="_incident")
    overlap = (pl.col("start_ms_incident") <= pl.col("end_ms")) & (pl.col("end_ms_incident") >= pl.col("start_ms"))
    return pairs.filter(overlap).group_by("incident").agg(pl.col("score").max())["score"].to_numpy().astype(np.float64)
