"""Raw logs as a benchmark case, read by the live decoder, templates and windows."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.model.bench.case import Case
from longwatch.model.bench.truth import SealedTruth, Truth
from longwatch.model.bench.units import Shape, Units
from longwatch.model.dataset import Windows
from longwatch.pipeline.assembly import window_rules
from longwatch.pipeline.bench.files import find_files
from longwatch.pipeline.bench.moment import split_ms
from longwatch.pipeline.bench.set_file import LineFiles
from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.decode import Decoder, decoder_for
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.history import History, Selection, drain, read_leaves, read_windows
from longwatch.pipeline.labels import Labels, read_labels
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.templates import TemplateSet


def line_case(lines: LineFiles, folder: Path, name: str) -> Case:
    """Templates, windows and counts come from lines before the split that no label calls wrong."""
    log = Log(lines, find_files(folder, lines.files), decoder_for(lines.format, lines.entity))
    moment = split_ms(lines.split, log.times())
    wrong = _wrong(lines, folder, log)
    clean = _Clean(until_ms=moment, wrong=wrong)
    masks = [mask.pattern for mask in lines.templates.masks]
    leaves = read_leaves(log.source(), log.decoder, masks, clean)
    templates = TemplateSet.learn(leaves, masks, lines.templates.merge_above)
    past, judged = log.windows(templates, clean), log.windows(templates, Selection())
    past.windows.sort(key=lambda window: int(window.columns["event_time_ms"][window.context]))
    starts = judged.times()[0]
    later = sorted((start, at) for at, start in enumerate(starts.tolist()) if start >= moment)
    judged.windows = [judged.windows[at] for _, at in later]
    if len(past.windows) < 4 or not judged.windows:
        found = f"{len(past.windows)} normal windows before the split, {len(judged.windows)} after it"
        raise InputError(f"{name}: {found}", "move the split, or make windows.max_events smaller")
    sealed = SealedTruth(None if wrong is None else _truth(judged, wrong))
    cleaned = len(log.windows(templates, Selection(until_ms=moment)).windows) - len(past.windows)
    return Case(name, _units(past, lines), _units(judged, lines), sealed, max(cleaned, 0))


@dataclass(frozen=True)
class Log:
    """A set's lines, to be read as often as needed."""

    lines: LineFiles
    paths: list[Path]
    decoder: Decoder

    def source(self) -> FilesSource:
        """All lines from the start."""
        now, max_bytes = SystemClock().now_ms(), self.lines.format.max_bytes.bytes
        return FilesSource(self.paths, TopicShape.of(self.paths), self.decoder, arrival_ms=now, max_bytes=max_bytes)

    def events(self) -> Iterator[pl.DataFrame]:
        """Decoded events of all lines."""
        for batch in drain(self.source()):
            yield self.decoder.decode(batch.frame).events

    def times(self) -> pl.Series:
        """Event time of each event, ms."""
        return pl.concat([events.select("event_time_ms") for events in self.events()]).to_series()

    def windows(self, templates: TemplateSet, selection: Selection) -> History:
        """Windows as the live worker would make them."""
        rules = window_rules(self.lines.windows)
        return read_windows(self.source(), self.decoder, TemplateColumns(templates), rules, selection)


@dataclass(frozen=True)
class Wrong:
    """What is known to be wrong: entities or stretches of them, or single lines by their offset."""

    labels: Labels | None = None
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def lines(self, events: pl.DataFrame) -> pl.Series:
        """Whether each event is known to be wrong."""
        if self.labels is None:
            return events["offset"].is_in(pl.Series(self.offsets, dtype=pl.Int64).implode())
        times = events.with_columns(start_ms=pl.col("event_time_ms"), end_ms=pl.col("event_time_ms"))
        return self.labels.mark(times)["anomalous"]

    def marks(self, history: History) -> pl.DataFrame:
        """Columns unit, incident (text) and row, the place in its window of the first wrong event."""
        if self.labels is None:
            return self._marks_of_lines(history)
        start, end = history.times()
        names = [window.entity for window in history.windows]
        units = pl.DataFrame({"entity": names, "from_ms": start, "to_ms": end}).with_row_index("unit")
        found = units.join(self.labels.anomalous, on="entity", how="inner")
        if self.labels.by_time:
            found = found.filter((pl.col("start_ms") <= pl.col("to_ms")) & (pl.col("end_ms") >= pl.col("from_ms")))
        rows = [
            history.windows[unit].context + _first_at(history, unit, since)
            for unit, since in found[["unit", "start_ms"]].rows()
        ]
        incident = pl.format("{}@{}", "entity", pl.col("start_ms").cast(pl.String).fill_null("life"))
        return found.select(pl.col("unit").cast(pl.Int64), incident=incident).with_columns(
            row=pl.Series(rows, dtype=pl.Int64)
        )

    def _marks_of_lines(self, history: History) -> pl.DataFrame:
        """A window with wrong lines is an incident of its own."""
        marks = []
        for unit, window in enumerate(history.windows):
            hits = np.flatnonzero(np.isin(window.columns["offset"][window.context :], self.offsets))
            if len(hits):
                marks.append((unit, f"lines of window {unit}", window.context + int(hits[0])))
        return pl.DataFrame(marks, schema={"unit": pl.Int64, "incident": pl.String, "row": pl.Int64}, orient="row")


@dataclass(frozen=True)
class _Clean(Selection):
    """The past without what is known to be wrong."""

    wrong: Wrong | None = None

    def keep(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events before the split that nothing calls wrong."""
        events = super().keep(events)
        return events if self.wrong is None else events.filter(~self.wrong.lines(events))


def _wrong(lines: LineFiles, folder: Path, log: Log) -> Wrong | None:
    if lines.labels is not None:
        return Wrong(labels=read_labels(folder / lines.labels))
    if lines.anomalous_line is None:
        return None
    hit = pl.col("line").str.contains(lines.anomalous_line)
    found = [events.filter(hit)["offset"] for events in log.events()]
    return Wrong(offsets=pl.concat(found).to_numpy())


def _first_at(history: History, unit: int, since_ms: int | None) -> int:
    """Own event of a window that is the first at or after a time; its first where the whole entity is wrong."""
    window = history.windows[unit]
    times = window.columns["event_time_ms"][window.context :]
    return 0 if since_ms is None else min(int(np.searchsorted(times, since_ms)), len(times) - 1)


def _units(history: History, lines: LineFiles) -> Units:
    """Windows in order of time."""
    entities = pl.Series([window.entity for window in history.windows]).hash(seed=0).to_numpy().astype(np.int64)
    shape: Shape = "trace" if lines.whole_lives else "stream"
    return Units(Windows(history.tokens(), *history.times()), entities, shape, timed=True)


def _truth(history: History, wrong: Wrong) -> Truth:
    marks = wrong.marks(history)
    names = sorted(marks["incident"].unique().to_list())
    unit = marks["unit"].to_numpy()
    anomalous = np.zeros(len(history.windows), dtype=np.bool_)
    anomalous[unit] = True
    incident = np.searchsorted(np.array(names), marks["incident"].to_numpy()) if names else np.zeros(0, np.int64)
    first = history.tokens().cu_seqlens[unit].astype(np.int64)
    return Truth(anomalous, incident.astype(np.int64), unit, first + marks["row"].to_numpy(), tuple(names))
