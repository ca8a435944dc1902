"""Events in windows of fixed length per entity: as units, and as the truth about them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.model.bench.truth import Truth
from longwatch.model.bench.units import Units
from longwatch.model.dataset import Windows
from longwatch.model.scorer import WindowTokens, template_id


@dataclass(frozen=True)
class Cells:
    """Rows by entity and time; window b is rows first[b]:stop[b], after context from start[b]; windows by time."""

    rows: pl.DataFrame
    start: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    end: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pl.DataFrame, max_events: int, context: int) -> Self:
        """From columns time_ms, entity, event, wrong and cell, in any order; equal times keep the order of the rows."""
        rows = rows.sort("entity", "time_ms", maintain_order=True).with_row_index("row")
        entity_start = pl.col("row").min().over("entity")
        found = (
            rows.with_columns(entity_start=entity_start)
            .group_by("entity", "cell", maintain_order=True)
            .agg(
                first=pl.col("row").min().cast(pl.Int64),
                end=pl.col("row").max().cast(pl.Int64) + 1,
                entity_start=pl.col("entity_start").first().cast(pl.Int64),
                start_ms=pl.col("time_ms").min(),
            )
            .sort("start_ms", maintain_order=True)
        )
        first, end = found["first"].to_numpy(), found["end"].to_numpy()
        start = np.maximum(first - context, found["entity_start"].to_numpy())
        return cls(rows, start, first, np.minimum(end, first + max_events), end)

    def __len__(self) -> int:
        return len(self.first)

    def units(self) -> Units:
        """The windows, events beyond the most that is read left out."""
        lengths = self.stop - self.start
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        packed = np.repeat(self.start - bounds[:-1], lengths) + np.arange(bounds[-1])
        times, entity = self.rows["time_ms"].to_numpy(), self.rows["entity"].rank("dense").to_numpy()
        gaps = np.diff(times, prepend=0)
        gaps[np.diff(entity, prepend=-1) != 0] = -1
        texts = self.rows["event"].unique().to_list()
        ids = {text: template_id(f"event {text}") for text in texts}
        kinds = self.rows["event"].replace_strict(ids, return_dtype=pl.UInt64).to_numpy()
        tokens = WindowTokens(
            kinds[packed],
            gaps[packed],
            np.zeros(len(packed), dtype=np.int32),
            bounds.astype(np.int32),
            (self.first - self.start).astype(np.int32),
            {number: f"event {text}" for text, number in ids.items()},
        )
        windows = Windows(tokens, times[self.first], times[self.stop - 1])
        names = self.rows["entity"].hash(seed=0).to_numpy().astype(np.int64)
        return Units(windows, names[self.first], "stream", timed=True)

    def truth(self) -> Truth:
        """An incident is all events under one label; a window is anomalous where it holds one."""
        wrong = self.rows.filter(pl.col("wrong") != "").select("row", "wrong")
        names = sorted(wrong["wrong"].unique().to_list())
        window = self._window_of(wrong["row"].to_numpy().astype(np.int64))
        marks = (
            wrong.with_columns(unit=pl.Series(window), incident=pl.col("wrong").replace_strict(_numbers(names)))
            .group_by("unit", "incident")
            .agg(pl.col("row").min().cast(pl.Int64))
            .sort("unit", "incident")
        )
        unit = marks["unit"].to_numpy()
        bounds = np.concatenate([[0], np.cumsum(self.stop - self.start)])
        row = np.minimum(marks["row"].to_numpy(), self.stop[unit] - 1)
        anomalous = np.zeros(len(self), dtype=np.bool_)
        anomalous[unit] = True
        return Truth(anomalous, marks["incident"].to_numpy(), unit, bounds[unit] + row - self.start[unit], tuple(names))

    def _window_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        order = np.argsort(self.first, kind="stable")
        return np.asarray(order[np.searchsorted(self.first[order], rows, side="right") - 1], dtype=np.int64)


def _numbers(names: list[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
