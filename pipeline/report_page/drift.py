"""Whether the log is still the one the bundle was made for: surprise against its calibration, templates over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from longwatch.model.scorer import Evidence
from longwatch.pipeline.report_page.history import History, bin_of, step_of

DRIFT_BINS = 12
LEVELS = (1.0, 2.0, 3.0)
"""-log10 of the share of normal events that is at least as surprising: one in 10, 100, 1000."""
MOVERS = 10


def drift(history: History) -> dict[str, Any]:
    """Share of surprising events and of unseen templates over time, and the templates whose share changed most."""
    start, step = history.period[0], step_of(history.period, DRIFT_BINS)
    events = history.scores.filter(pl.col("offset").is_not_null()).with_columns(bin_of(start, step, DRIFT_BINS))
    values = [history.bundle.calibration.surprise.value(level) for level in LEVELS]
    unseen = 1 << Evidence.names.index("unseen_template")
    above = [(pl.col("surprise") >= value).mean().alias(f"above{at}") for at, value in enumerate(values)]
    rows = (
        events.group_by("bin")
        .agg(pl.len(), *above, ((pl.col("evidence") & unseen) > 0).mean().alias("unseen"))
        .sort("bin")
        .collect()
    )
    return {
        "start": start,
        "step": step,
        "expected": [10.0**-level for level in LEVELS],
        "surprise": [round(value, 3) for value in values],
        "bins": [[row[0], row[1], *(round(share, 6) for share in row[2:])] for row in rows.iter_rows()],
        **_templates(history, events),
    }


def _templates(history: History, events: pl.LazyFrame) -> dict[str, Any]:
    """Templates of the first half against those of the second: how far apart, and which moved."""
    late = pl.col("bin") >= DRIFT_BINS // 2
    sums = (~late).sum().alias("before"), late.sum().alias("after")
    counts = events.group_by("template_id").agg(*sums).sort("template_id").collect()
    before, after = (counts[name].to_numpy().astype(np.float64) for name in ("before", "after"))
    if not (before.sum() and after.sum()):
        return {"distance": None, "movers": []}
    before, after = before / before.sum(), after / after.sum()
    keys = counts["template_id"].to_numpy()
    moved = sorted(range(len(keys)), key=lambda at: (-abs(after[at] - before[at]), int(keys[at])))[:MOVERS]
    movers = [[history.template(int(keys[at])), round(before[at], 6), round(after[at], 6)] for at in moved]
    return {"distance": round(_jensen_shannon(before, after), 4), "movers": movers}


def _jensen_shannon(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Jensen-Shannon distance in bits: 0 for equal distributions, 1 for ones that share nothing."""
    middle = (one + other) / 2
    halves = [part[part > 0] @ np.log2(part[part > 0] / middle[part > 0]) for part in (one, other)]
    return float(np.sqrt(max(0.0, sum(halves) / 2)))
