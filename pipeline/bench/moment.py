"""Where the past of a set with times ends."""

import polars as pl

from longwatch.pipeline.bench.set_file import Split
from longwatch.pipeline.commands.bounded import event_time_ms
from longwatch.pipeline.errors import InputError


def split_ms(split: Split, times_ms: pl.Series, first_wrong: pl.Series | None = None) -> int:
    """The first moment that is judged: a time, past a share of the events, or the first row marked."""
    if split.time is not None:
        return event_time_ms(split.time)
    ordered = times_ms.sort()
    if not len(ordered):
        raise InputError("no event has a time", "check the time's column and format")
    if split.share is not None:
        return int(ordered[int(len(ordered) * split.share)])
    marked = times_ms.filter(first_wrong) if first_wrong is not None else times_ms.clear()
    moment = marked.min()
    if not isinstance(moment, int):
        raise InputError("no row marks where the past ends", "check `split.before_first`, or use `share`")
    return moment
