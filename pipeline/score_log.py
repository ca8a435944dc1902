"""Every event's scores as columns, for backtests and for looking under an alert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.model.scorer import WindowTokens
from longwatch.pipeline.detection import Scores
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.records import Partition
from longwatch.pipeline.window_state import Window

SCORE_SCHEMA = pl.Schema(
    {
        "topic": pl.String,
        "partition": pl.Int64,
        "entity": pl.String,
        "first_offset": pl.Int64,
        "offset": pl.Int64,
        "event_time_ms": pl.Int64,
        "template_id": pl.UInt64,
        "gap_ms": pl.Int64,
        "parameter_chars": pl.Int32,
        "surprise": pl.Float32,
        "event_score": pl.Float64,
        "window_score": pl.Float64,
        "evidence": pl.UInt32,
        "new_template": pl.String,
    }
)
"""`offset` is null for a window's end; `evidence` has one bit for each flag, the first name lowest; `new_template` is
the text of a template that the bundle's vocabulary lacks, else null."""


def score_frame(items: Sequence[tuple[Partition, Window]], tokens: WindowTokens, scores: Scores) -> pl.DataFrame:
    """One row in `SCORE_SCHEMA` for each event scored now, in the order of the scores."""
    counts = (tokens.lengths - tokens.scored).tolist()
    offsets, times = (_column(items, tokens, name) for name in ("offset", "event_time_ms"))
    rows = tokens.unscored_rows()
    bits = scores.flags.astype(np.uint32) @ (1 << np.arange(scores.flags.shape[1], dtype=np.uint32))
    new = {key: text for key, text in tokens.templates.items() if key != END_ID}
    frame = pl.DataFrame(
        {
            "topic": _repeated([item.topic for item, _ in items], counts),
            "partition": _repeated([item.partition for item, _ in items], counts),
            "entity": _repeated([window.entity for _, window in items], counts),
            "first_offset": _repeated([window.first_offset for _, window in items], counts),
            "offset": offsets[rows],
            "event_time_ms": times[rows],
            "template_id": tokens.template_id[rows],
            "gap_ms": tokens.gap_ms[rows],
            "parameter_chars": tokens.parameter_chars[rows],
            "surprise": scores.surprise,
            "event_score": scores.event,
            "window_score": scores.window,
            "evidence": bits.astype(np.uint32),
            "new_template": [new.get(key) for key in tokens.template_id[rows].tolist()],
        },
        schema=SCORE_SCHEMA,
    )
    return frame.with_columns(pl.when(pl.col("offset") >= 0).then("offset").alias("offset"))


def _repeated(values: list[object], counts: list[int]) -> pl.Series:
    return pl.Series([values]).explode()[np.repeat(np.arange(len(values)), counts)]


def _column(items: Sequence[tuple[Partition, Window]], tokens: WindowTokens, name: str) -> NDArray[np.int64]:
    """Packed column of the windows; at an end token the time is the last event's and the offset -1."""
    packed = np.full(int(tokens.cu_seqlens[-1]), -1, np.int64)
    for (_, window), start, stop in zip(items, tokens.cu_seqlens[:-1], tokens.cu_seqlens[1:], strict=True):
        values = window.columns[name]
        packed[start : start + len(values)] = values
        if name == "event_time_ms" and start + len(values) < stop:
            packed[stop - 1] = values[-1]
    return packed
