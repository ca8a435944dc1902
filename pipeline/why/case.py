"""The window of an alert as the scorer read it, taken from the score log of a backtest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from longwatch.model.scorer import WindowTokens
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.detection import AlertKind
from longwatch.pipeline.errors import InputError

_LAST = 1 << 62


@dataclass(frozen=True)
class Case:
    """Rows of one window up to the alert, `context` of them before its own; `top` is the event that stands out most."""

    kind: AlertKind
    rows: pl.DataFrame
    context: int
    top: int
    texts: Mapping[int, str]

    @property
    def tokens(self) -> WindowTokens:
        """All rows as one window."""
        ids, gaps, chars = (self.rows[name].to_numpy() for name in ("template_id", "gap_ms", "parameter_chars"))
        ends, scored = np.array([0, len(ids)], np.int32), np.array([self.context], np.int32)
        return WindowTokens(ids, gaps, chars, ends, scored, self.texts)

    def text(self, row: int) -> str:
        """Template of one row."""
        return self.texts[int(self.rows["template_id"][row])]


def case_of(alert: Alert, scores: pl.LazyFrame, texts: Mapping[int, str]) -> Case:
    """The alert's window as far as this message knows it: context first, then its own events.

    Raises:
        InputError: the score log does not hold that window.
    """
    source = (pl.col("topic") == alert.source.topic, pl.col("partition") == alert.source.partition)
    # Its first record is one entity's alone; the alert's own name for that entity may be masked.
    own = scores.filter(*source, pl.col("first_offset") == alert.window.first_offset).collect()
    own = own if own.is_empty() else _upto(alert, own.sort(pl.col("offset").fill_null(_LAST)))
    if own.is_empty():
        raise InputError(f"no scores of alert {alert.alert_id}", "give the folder of the backtest that raised it")
    events = scores.filter(*source, pl.col("entity") == own["entity"][0])
    before = events.filter(pl.col("offset") < int(own["offset"][0])).sort("offset").tail(alert.window.num_context)
    rows = pl.concat([before.collect(), own])
    new = rows.filter(pl.col("new_template").is_not_null()).select("template_id", "new_template")
    top = len(rows) - len(own) + int(np.argmax(np.round(own["event_score"].to_numpy(), 4)))
    return Case(alert.kind, rows, len(rows) - len(own), top, {**texts, **dict(new.iter_rows())})


def _upto(alert: Alert, own: pl.DataFrame) -> pl.DataFrame:
    """Rows that the message was about; the end is among them only if the highest score so far needs it."""
    reached = own.filter(pl.col("offset") <= alert.window.last_offset)
    column = "event_score" if alert.kind == "event" else "window_score"
    known = max(reached[column].to_list(), default=0.0)
    is_end = own["offset"][-1] is None and len(reached) == len(own) - 1
    return own if is_end and (alert.lifecycle == "close" or alert.score > known + 1e-3) else reached
