"""Traces without times, a row each, as a benchmark case."""

from pathlib import Path

import numpy as np
import polars as pl

from longwatch.model.bench.case import Case
from longwatch.model.bench.truth import SealedTruth, Truth
from longwatch.model.bench.units import Units
from longwatch.model.dataset import Windows
from longwatch.model.scorer import END_TEMPLATE, WindowTokens, template_id
from longwatch.pipeline.bench.files import column, find_files, read_table
from longwatch.pipeline.bench.set_file import SequenceTable, Words
from longwatch.pipeline.errors import InputError


def sequence_case(table: SequenceTable, folder: Path, name: str) -> Case:
    """Train rows as the past, test rows to be judged; anomalous train rows are left out."""
    paths = find_files(folder, table.files)
    frame = pl.concat([read_table(path) for path in paths])
    wrong = ~column(frame, table.anomalous.column, paths[0]).is_in(list(table.anomalous.normal))
    train, test = (_chosen(frame, rows, paths[0]) for rows in (table.train, table.test))
    normal = frame.filter(train & ~wrong)
    if len(normal) < 4 or not test.any():
        raise InputError(f"{paths[0]}: {len(normal)} normal rows to learn from, {test.sum()} to judge", "check `train`")
    judged = frame.filter(test)
    truth = _truth(judged, wrong.filter(test), table, paths[0])
    cleaned = int((train & wrong).sum())
    return Case(name, units_of(normal[table.events]), units_of(judged[table.events]), SealedTruth(truth), cleaned)


def units_of(traces: pl.Series) -> Units:
    """Lists of events as traces, each with its end; the text of an event is its value."""
    events = traces.rename("event").to_frame().with_row_index("trace").explode("event").drop_nulls()
    texts = events["event"].cast(pl.String)
    distinct = texts.unique().to_list()
    ids = {text: template_id(f"event {text}") for text in distinct}
    packed = texts.replace_strict(ids, return_dtype=pl.UInt64).to_numpy()
    counts = np.bincount(events["trace"].to_numpy(), minlength=len(traces))
    bounds = np.concatenate([[0], np.cumsum(counts + 1)]).astype(np.int32)
    end = template_id(END_TEMPLATE)
    tokens = np.full(int(bounds[-1]), end, dtype=np.uint64)
    inside = np.ones(len(tokens), dtype=np.bool_)
    inside[bounds[1:] - 1] = False
    tokens[inside] = packed
    gaps = np.zeros(len(tokens), dtype=np.int64)
    gaps[bounds[:-1]] = -1
    known = {number: f"event {text}" for text, number in ids.items()} | {end: END_TEMPLATE}
    none = np.zeros(len(tokens), dtype=np.int32)
    packed_tokens = WindowTokens(tokens, gaps, none, bounds, np.zeros(len(traces), np.int32), known)
    order = np.arange(len(traces), dtype=np.int64)
    return Units(Windows(packed_tokens, order, order), order, "trace", timed=False)


def _chosen(frame: pl.DataFrame, rows: dict[str, Words], path: Path) -> pl.Series:
    chosen = pl.Series([True]).new_from_index(0, len(frame))
    for name, values in rows.items():
        chosen = chosen & column(frame, name, path).is_in(list(values))
    return chosen


def _truth(judged: pl.DataFrame, wrong: pl.Series, table: SequenceTable, path: Path) -> Truth:
    """Each anomalous trace is an incident of its own, named after its kind."""
    anomalous = wrong.to_numpy()
    kinds = column(judged, table.incident or table.anomalous.column, path).filter(wrong)
    units = np.flatnonzero(anomalous)
    first = np.cumsum([0, *(judged[table.events].list.len().to_numpy() + 1)])[units]
    return Truth(anomalous, np.arange(len(units)), units, first, tuple(kinds), table.normal_weight)
