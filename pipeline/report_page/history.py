"""What a report is made from: the windows reported on, every score in their time, the alerts and the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from longwatch.model.scorer import END_TEMPLATE, Bundle
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import Model
from longwatch.pipeline.console import sanitise
from longwatch.pipeline.labels import Labels
from longwatch.pipeline.masking.masker import NOTHING, Masker
from longwatch.pipeline.packing import END_ID

TEXT_CHARACTERS = 400


@dataclass(frozen=True)
class History:
    """`windows` as `windows_of` gives them, not empty; `texts` of the templates that the bundle knows."""

    windows: pl.DataFrame
    all_scores: pl.LazyFrame
    all_alerts: Sequence[Alert]
    truth: Labels | None
    texts: Mapping[int, str]
    model: Model
    masker: Masker = NOTHING

    @property
    def bundle(self) -> Bundle:
        """What scored them."""
        return self.model.bundle

    @cached_property
    def period(self) -> tuple[int, int]:
        """First and last event time of the windows, in ms."""
        return int(self.windows["start_ms"].min()), int(self.windows["end_ms"].max())  # type: ignore[arg-type]

    @cached_property
    def scores(self) -> pl.LazyFrame:
        """Scores of the windows reported on."""
        keys = self.windows.lazy().select("topic", "partition", "entity", "first_offset")
        return self.all_scores.join(keys, on=["topic", "partition", "entity", "first_offset"], how="semi")

    @cached_property
    def alerts(self) -> list[list[Alert]]:
        """Messages of each alert on a window reported on, in order; the alerts by when they were opened."""
        keys = set(self.windows.select("topic", "partition", "entity", "first_offset").iter_rows())
        found: dict[str, list[Alert]] = {}
        for alert in self.all_alerts:
            if (alert.source.topic, alert.source.partition, alert.entity, alert.window.first_offset) in keys:
                found.setdefault(alert.alert_id, []).append(alert)
        return sorted(found.values(), key=lambda life: (life[0].window.end_time, life[0].alert_id))

    @cached_property
    def names(self) -> dict[int, str]:
        """Text of each template, those that the bundle had not seen among them."""
        new = self.scores.filter(pl.col("new_template").is_not_null()).select("template_id", "new_template")
        return {**dict(new.unique().collect().iter_rows()), **self.texts, END_ID: END_TEMPLATE}

    def template(self, key: int) -> str:
        """Text of one template for a person."""
        return self.shown(self.names[key])

    def shown(self, text: str) -> str:
        """Text of a log masked, made harmless and not too long."""
        return shown(self.masker.text(text))

    def entity(self, name: str) -> str:
        """An entity for a person."""
        return shown(self.masker.name(name))

    @cached_property
    def marked(self) -> pl.DataFrame:
        """Windows with `anomalous`, null where no truth is known."""
        if self.truth is None:
            return self.windows.with_columns(pl.lit(None, pl.Boolean).alias("anomalous"))
        return self.truth.mark(self.windows)


def shown(text: str) -> str:
    """Text of a log made harmless and not too long."""
    safe = sanitise(text)
    return safe if len(safe) <= TEXT_CHARACTERS else f"{safe[: TEXT_CHARACTERS - 1]}…"


def bin_of(start_ms: int, step_ms: int, bins: int) -> pl.Expr:
    """Number of the time bin of `event_time_ms`, from 0 to `bins` - 1."""
    return ((pl.col("event_time_ms") - start_ms) // step_ms).clip(0, bins - 1).alias("bin")


def step_of(period: tuple[int, int], bins: int) -> int:
    """Width of each of so many bins over a period, at least 1 ms."""
    return max(1, -(-(period[1] - period[0] + 1) // bins))
