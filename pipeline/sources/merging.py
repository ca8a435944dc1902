"""Several files as one stream of lines, in the order of event time."""

import heapq
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.records import RECORD_SCHEMA
from longwatch.pipeline.sources.lines import read_lines

_BEFORE_ALL = np.iinfo(np.int64).min
_LINES_AT_ONCE = 4096


@dataclass(frozen=True)
class Lines:
    """Consecutive lines; `entities` and `times` (int64 ms, never falling) only where a decoder was given."""

    values: list[bytes]
    entities: list[str | None]
    times: NDArray[np.int64]

    def cut(self, start: int, stop: int) -> Self:
        """Rows start to stop."""
        return type(self)(self.values[start:stop], self.entities[start:stop], self.times[start:stop])


def merged_lines(paths: Sequence[Path], max_bytes: int, arrival_ms: int, decoder: Decoder | None) -> Iterator[Lines]:
    """Lines of all files by event time; equal times in the order of `paths`, and no two lines of a file change places.

    A line without a readable time, or with one older than a line before it, counts as of that earlier line's time.
    Files that do not overlap in time thus come one after the other. One file needs no decoder and is read as it is.
    """
    streams = [_file_lines(path, max_bytes, arrival_ms, decoder) for path in paths]
    if len(streams) == 1:
        yield from streams[0]
        return
    heads: list[tuple[int, int, Lines]] = []
    for index, stream in enumerate(streams):
        _push(heads, index, stream)
    while heads:
        _, index, lines = heapq.heappop(heads)
        count = _lines_before(lines, index, heads)
        yield lines.cut(0, count)
        if count < len(lines.values):
            heapq.heappush(heads, (int(lines.times[count]), index, lines.cut(count, len(lines.values))))
        else:
            _push(heads, index, streams[index])


def _push(heads: list[tuple[int, int, Lines]], index: int, stream: Iterator[Lines]) -> None:
    for lines in islice(stream, 1):
        heapq.heappush(heads, (int(lines.times[0]), index, lines))


def _lines_before(lines: Lines, index: int, heads: list[tuple[int, int, Lines]]) -> int:
    """How many lines of file `index` come before the earliest line of all other files."""
    if not heads:
        return len(lines.values)
    time, other, _ = heads[0]
    return int(np.searchsorted(lines.times, time, side="right" if index < other else "left")) or 1


def _file_lines(path: Path, max_bytes: int, arrival_ms: int, decoder: Decoder | None) -> Iterator[Lines]:
    clock = _BEFORE_ALL
    for piece in read_lines(path, max_bytes):
        for start in range(0, len(piece), _LINES_AT_ONCE):
            lines = _decoded(piece[start : start + _LINES_AT_ONCE], arrival_ms, decoder, clock)
            clock = int(lines.times[-1])
            yield lines


def _decoded(values: list[bytes], arrival_ms: int, decoder: Decoder | None, clock: int) -> Lines:
    times = np.full(len(values), clock, np.int64)
    entities: list[str | None] = [None] * len(values)
    if decoder is None:
        return Lines(values, entities, times)
    events = decoder.decode(as_records(values, [None] * len(values), arrival_ms)).events
    rows = events["offset"].to_numpy()
    times[rows] = events["event_time_ms"].to_numpy()
    for row, entity in zip(rows.tolist(), events["entity"], strict=True):
        entities[row] = entity
    times[0] = max(int(times[0]), clock)
    return Lines(values, entities, np.maximum.accumulate(times))


def regroup(stream: Iterator[Lines], size: int) -> Generator[Lines, None, None]:
    """The same lines, `size` at a time; the last group may be smaller."""
    waiting: list[Lines] = []
    count = 0
    for lines in stream:
        waiting.append(lines)
        count += len(lines.values)
        if count >= size:
            whole = _joined(waiting)
            full = count - count % size
            yield from (whole.cut(start, start + size) for start in range(0, full, size))
            waiting, count = [whole.cut(full, count)], count - full
    if count:
        yield _joined(waiting)


def as_records(
    values: Sequence[bytes], keys: Sequence[bytes | None], arrival_ms: int, first_offset: int = 0
) -> pl.DataFrame:
    """`RECORD_SCHEMA` frame of lines numbered on from `first_offset`."""
    offsets = np.arange(first_offset, first_offset + len(values), dtype=np.int64)
    columns = {"offset": offsets, "timestamp_ms": np.full(len(values), arrival_ms, np.int64)}
    return pl.DataFrame({**columns, "key": list(keys), "value": list(values)}, schema=RECORD_SCHEMA)


def _joined(parts: Sequence[Lines]) -> Lines:
    return Lines(
        [value for part in parts for value in part.values],
        [entity for part in parts for entity in part.entities],
        np.concatenate([part.times for part in parts]),
    )
