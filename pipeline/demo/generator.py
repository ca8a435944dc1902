"""The company's log lines, hour by hour, the same for the same seed on any machine."""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl

from longwatch.pipeline.demo.company import HOSTS
from longwatch.pipeline.demo.incidents import MINIMUM_DAYS, epoch_ms, trail_of
from longwatch.pipeline.demo.render import render
from longwatch.pipeline.demo.trail import DAY_MS, HOUR_MS

TRAIN_FIRST_DAY = date(2026, 10, 27)
TRAIN_DAYS = 6.0
DEMO_FIRST_DAY = date(2026, 11, 2)
DEMO_DAYS = 1.5

SCHEMA = pl.Schema({"event_time_ms": pl.Int64, "entity": pl.String, "line": pl.String, "incident": pl.String})


def generate(
    seed: int, first_day: date, days: float, *, incidents: bool = False, deploy: bool = False
) -> Iterator[pl.DataFrame]:
    """One frame in `SCHEMA` per hour that has events, in time order; `incident` is null on ordinary events.

    A day depends on the seed and its date, not on where the period starts. With `deploy`, the web hosts run a new
    release from 11:00 of the first day on. ValueError where `incidents` are asked for in fewer than `MINIMUM_DAYS`
    days, since some of them would not fit.
    """
    if incidents and days < MINIMUM_DAYS:
        raise ValueError(f"days is {days}; the planted incidents need {MINIMUM_DAYS} or more: ask for longer")
    end_ms = epoch_ms(first_day) + int(days * DAY_MS)
    for day in range(int(np.ceil(days))):
        events = _day(seed, first_day, day, incidents, deploy).filter(pl.col("event_time_ms") < end_ms)
        lines = render(seed, first_day.toordinal() + day, events).select(SCHEMA.names())
        yield from _hours(lines)


def _hours(lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    hours = (lines.get_column("event_time_ms") // HOUR_MS).to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(hours)) + 1).tolist(), lines.height]
    for low, high in pairwise(cuts):
        yield lines.slice(low, high - low)


def _day(seed: int, first_day: date, day: int, incidents: bool, deploy: bool) -> pl.DataFrame:
    parts = []
    for host in HOSTS:
        trail = trail_of(seed, first_day, day, host, planted=incidents, deploy=deploy)
        columns = {"event_time_ms": trail.times, "key": trail.keys, "incident": trail.incidents}
        parts.append(pl.DataFrame(columns).with_columns(entity=pl.lit(host)))
    end_ms = epoch_ms(first_day) + (day + 1) * DAY_MS
    events = pl.concat(parts).filter(pl.col("event_time_ms") < end_ms).sort("event_time_ms", maintain_order=True)
    return events.with_columns(pl.col("incident").replace({"": None}))
