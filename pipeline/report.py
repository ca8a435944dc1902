"""What a replay amounts to: alerts a day and, where the truth is known, what was caught, missed and false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from longwatch.model.baselines import FLOORS
from longwatch.model.evaluate import Confusion, auroc, average_precision, confusion, sweep
from longwatch.model.scorer import Evidence, WindowTokens
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.labels import Labels
from longwatch.pipeline.records import Partition

DAY_MS = 86_400_000
WINDOW = ("topic", "partition", "entity", "first_offset")
SWEEP_ROWS = 20


@dataclass(frozen=True)
class Slice:
    """Which windows are reported on: those whose first event lies in [start_ms, end_ms)."""

    start_ms: int | None = None
    end_ms: int | None = None

    def keep(self, windows: pl.DataFrame) -> pl.DataFrame:
        """Windows of the slice."""
        after = pl.lit(value=True) if self.start_ms is None else pl.col("start_ms") >= self.start_ms
        before = pl.lit(value=True) if self.end_ms is None else pl.col("start_ms") < self.end_ms
        return windows.filter(after & before)


def windows_of(scores: pl.LazyFrame, alerts: Sequence[Alert]) -> pl.DataFrame:
    """One row a window: start_ms, end_ms, events, score (its highest), alerted, and events read until the alert."""
    windows = scores.group_by(WINDOW).agg(
        pl.col("event_time_ms").min().alias("start_ms"),
        pl.col("event_time_ms").max().alias("end_ms"),
        pl.col("offset").is_not_null().sum().alias("events"),
        pl.col("window_score").max().alias("score"),
    )
    opened = [(*_window_key(alert), alert.window.num_events) for alert in alerts if alert.lifecycle == "open"]
    schema = {
        "topic": pl.String,
        "partition": pl.Int64,
        "entity": pl.String,
        "first_offset": pl.Int64,
        "delay": pl.Int64,
    }
    first = pl.DataFrame(opened, schema=schema, orient="row").group_by(WINDOW).agg(pl.col("delay").min())
    joined = windows.collect().join(first, on=WINDOW, how="left")
    return joined.with_columns(pl.col("delay").is_not_null().alias("alerted")).sort(*WINDOW)


def summary(windows: pl.DataFrame, labels: Labels | None) -> dict[str, Any]:
    """Figures of the windows; with labels also what they say of the detector, per window, or per entity labelled."""
    days = _days(windows)
    figures: dict[str, Any] = {
        "windows": len(windows),
        "events": int(windows["events"].sum()),
        "days": round(days, 4),
        "alerts": int(windows["alerted"].sum()),
        "alerts_per_day": round(int(windows["alerted"].sum()) / days, 4) if days else None,
    }
    if labels is not None:
        figures["detection"] = detection(units_of(windows, labels))
    return figures


def units_of(windows: pl.DataFrame, labels: Labels) -> pl.DataFrame:
    """What is judged: windows where incidents have times, else entities whole; score, alerted, delay, anomalous."""
    marked = labels.mark(windows)
    if labels.by_time:
        return marked
    return marked.group_by("entity", maintain_order=True).agg(
        pl.col("score").max(),
        pl.col("alerted").any(),
        pl.col("delay").min(),
        pl.col("anomalous").any(),
    )


def detection(units: pl.DataFrame) -> dict[str, Any]:
    """Precision, recall and F1 of the alerts raised; AUROC and average precision of the scores; delay in events."""
    scores, truth = units["score"].to_numpy(), units["anomalous"].to_numpy()
    raised = confusion(units["alerted"].to_numpy().astype(np.float64), truth, 1.0)
    delays = units.filter(pl.col("anomalous") & pl.col("alerted"))["delay"]
    return {
        "units": len(units),
        "anomalous": int(truth.sum()),
        **_rates(raised),
        "auroc": _figure(auroc(scores, truth)),
        "average_precision": _figure(average_precision(scores, truth)),
        "delay_events_median": delays.median(),
    }


def floors(windows: pl.DataFrame, tokens: WindowTokens, evidence: Evidence, labels: Labels) -> dict[str, Any]:
    """The cheap baselines on the same windows: AUROC, F1 of "any at all", and F1 at the best threshold in hindsight."""
    found = {}
    for name, floor in FLOORS.items():
        units = units_of(windows.with_columns(pl.Series("score", floor(evidence, tokens))), labels)
        scores, truth = units["score"].to_numpy(), units["anomalous"].to_numpy()
        best = max(sweep(scores, truth, np.unique(scores)), key=lambda row: row.f1)
        found[name] = {
            "auroc": _figure(auroc(scores, truth)),
            "any": _rates(confusion(scores, truth, np.nextafter(0, 1))),
            "f1_in_hindsight": round(best.f1, 4),
        }
    return found


def threshold_sweep(windows: pl.DataFrame, labels: Labels | None) -> pl.DataFrame:
    """What other window thresholds would have given: alerts a day and, with labels, precision, recall and F1."""
    units = windows if labels is None else units_of(windows, labels)
    scores = units["score"].to_numpy()
    truth = np.zeros(len(units), bool) if labels is None else units["anomalous"].to_numpy()
    thresholds = np.unique(np.quantile(scores, 1 - np.geomspace(0.5, 1 / max(2, len(scores)), SWEEP_ROWS)))
    days = _days(windows) or float("nan")
    rows = []
    for row in sweep(scores, truth, thresholds.tolist()):
        known = {} if labels is None else _rates(row)
        alerts = row.true_alarms + row.false_alarms
        rows.append({"threshold": row.threshold, "alerts": alerts, "alerts_per_day": alerts / days, **known})
    return pl.DataFrame(rows)


def tokens_of(scores: pl.LazyFrame, windows: pl.DataFrame, texts: Mapping[int, str]) -> WindowTokens:
    """The windows' own tokens, packed in the order of `windows`, for the baselines: template ids and gaps only."""
    order = windows.select(WINDOW).with_row_index("window")
    wanted = ("window", "template_id", "gap_ms", "offset")
    rows = scores.join(order.lazy(), on=WINDOW, how="inner").select(wanted).collect()
    rows = rows.sort("window", pl.col("offset").fill_null(2**62))
    lengths = rows.group_by("window", maintain_order=True).len()["len"].to_numpy()
    return WindowTokens(
        rows["template_id"].to_numpy(),
        rows["gap_ms"].to_numpy(),
        np.zeros(len(rows), np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.zeros(len(lengths), np.int32),
        texts,
    )


def _figure(value: float) -> float | None:
    """Rounded; None where only one kind of unit makes it undefined, which JSON cannot say otherwise."""
    return None if np.isnan(value) else round(value, 5)


def _rates(found: Confusion) -> dict[str, Any]:
    return {
        "true_alarms": found.true_alarms,
        "false_alarms": found.false_alarms,
        "missed": found.missed,
        "precision": round(found.precision, 4),
        "recall": round(found.recall, 4),
        "f1": round(found.f1, 4),
    }


def _window_key(alert: Alert) -> tuple[str, int, str, int]:
    source = Partition(alert.source.topic, alert.source.topic_id, alert.source.partition)
    return source.topic, source.partition, alert.entity, alert.window.first_offset


def _days(windows: pl.DataFrame) -> float:
    if windows.is_empty():
        return 0.0
    return max(1, int(windows["end_ms"].max()) - int(windows["start_ms"].min())) / DAY_MS  # type: ignore[arg-type]
