"""Past logs as the windows that the live worker would have made of them: what a model is trained on.

The live decoder, templates and windows read the history, so that training and serving cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.model.scorer import WindowTokens
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.packing import pack
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources import Source
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.template_leaves import LeafTable
from longwatch.pipeline.template_masks import Masks
from longwatch.pipeline.window_state import Window, WindowRules
from longwatch.pipeline.windows import PartitionWindows

Report = Callable[[int], None]


@dataclass(frozen=True)
class Selection:
    """What of a history to learn from: all but some entities, and no event at or after `until_ms`."""

    excluded_entities: Collection[str] = ()
    until_ms: int | None = None

    def keep(self, events: pl.DataFrame) -> pl.DataFrame:
        """The events to learn from."""
        if self.excluded_entities:
            events = events.filter(~pl.col("entity").is_in(list(self.excluded_entities)))
        return events if self.until_ms is None else events.filter(pl.col("event_time_ms") < self.until_ms)


@dataclass
class History:
    """What was read: whole windows in the order they closed, and how many records could not be used."""

    windows: list[Window] = field(default_factory=list)
    records: int = 0
    rejected: int = 0
    late: int = 0

    def tokens(self) -> WindowTokens:
        """All windows packed; context is not a target, ends of quiet entities are."""
        return pack(self.windows)

    def times(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Event time of each window's first own and last event, ms, int64 [B] each."""
        spans = [(w.columns["event_time_ms"][w.context], w.columns["event_time_ms"][-1]) for w in self.windows]
        starts, ends = zip(*spans, strict=True) if spans else ((), ())
        return np.array(starts, np.int64), np.array(ends, np.int64)


def read_leaves(source: Source, decoder: Decoder, masks: Sequence[str], selection: Selection) -> set[str]:
    """Distinct leaves (masked messages) of all kept events: what a template set is learned from."""
    found: set[str] = set()
    table = LeafTable(Masks(tuple(masks)))
    for batch in drain(source):
        events = selection.keep(decoder.decode(batch.frame).events)
        for piece in table.number(events["message"]):
            found.update(piece.new_leaves)
    return found


def read_windows(
    source: Source,
    decoder: Decoder,
    templates: TemplateColumns,
    rules: WindowRules,
    selection: Selection = Selection(),
    report: Report | None = None,
) -> History:
    """Every window of a bounded source; at its end open windows close as they would in the worker.

    All templates count as new, so that the windows carry the text of each.
    """
    history = History()
    states: dict[Partition, PartitionWindows] = {}
    for batch in drain(source):
        state = states.setdefault(batch.partition, PartitionWindows(rules))
        decoded = decoder.decode(batch.frame)
        # Without the lines, which nothing here reads: else the whole history's text would stay in memory.
        kept = selection.keep(decoded.events).with_columns(line=pl.lit(""))
        events = templates.add(kept).with_columns(is_new=pl.lit(value=True))
        advance = state.advance(batch.frame, events)
        history.windows += [window for window in advance.windows if window.close]
        history.records += len(batch.frame)
        history.rejected += len(decoded.rejected)
        history.late += len(advance.late)
        if report is not None:
            report(history.records)
    for state in states.values():
        history.windows += _rest(state)
    return history


def drain(source: Source) -> Iterator[RecordBatch]:
    """Batches of a bounded source until it is exhausted."""
    while not source.exhausted:
        yield from source.poll()


def _rest(state: PartitionWindows) -> list[Window]:
    """Windows still open at the end: an end that was seen only where the worker would see it, by `idle_timeout`."""
    windows = state.close_all(2**62)
    if state.rules.idle_timeout_ms is None:
        for window in windows:
            window.close = None
    return windows
