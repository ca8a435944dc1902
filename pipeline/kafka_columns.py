"""A fetch's records as columns over the bytes they came in; knows nothing of the client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.pipeline.kafka_kernel import FIELDS, KEY_AT, KEY_SIZE, OFFSET, TIMESTAMP, VALUE_AT, VALUE_SIZE
from longwatch.pipeline.records import RECORD_SCHEMA

LARGE_RECORD = 4096
"""Bytes of a record from which on one copy of it matters more than an object for it: Polars makes many copies."""


@dataclass(frozen=True)
class RecordColumns:
    """Records of one partition: rows of `kafka_kernel` as `columns` [FIELDS, n], their keys and values in `content`."""

    content: bytes | bytearray
    columns: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.columns.shape[1])

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        return int(self.columns[OFFSET, -1])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each record's key and value."""
        both: NDArray[np.int64] = np.maximum(self.columns[[KEY_SIZE, VALUE_SIZE]], 0).sum(axis=0)
        return both

    @property
    def bounds(self) -> tuple[int, int]:
        """Where the bytes of these records begin and end in `content`."""
        ends = self.columns[VALUE_AT] + np.maximum(self.columns[VALUE_SIZE], 0)
        return int(self.columns[KEY_AT, 0]), int(ends[-1])

    def since(self, offset: int) -> RecordColumns:
        """The records from that offset on."""
        return self.rows(int(np.searchsorted(self.columns[OFFSET], offset)), len(self))

    def rows(self, start: int, stop: int) -> RecordColumns:
        """Records start:stop over the same bytes."""
        return RecordColumns(self.content, self.columns[:, start:stop])

    def alone(self) -> RecordColumns:
        """The same over a copy of their own bytes, so that the rest of a large batch can be let go."""
        start, stop = self.bounds
        columns = self.columns.copy()
        columns[[KEY_AT, VALUE_AT]] -= start
        return RecordColumns(bytes(memoryview(self.content)[start:stop]), columns)

    def cut(self, start: int, size: int) -> list[bytes | None]:
        """The texts that these two rows of `columns` say, an object each."""
        spans = zip(self.columns[start].tolist(), self.columns[size].tolist(), strict=True)
        view = memoryview(self.content)
        return [bytes(view[at : at + length]) if length >= 0 else None for at, length in spans]

    @classmethod
    def of(cls, records: Sequence[Any]) -> RecordColumns:
        """Columns of the client library's records."""
        columns = np.empty((FIELDS, len(records)), np.int64)
        for rows, name in ((KEY_AT, "key"), (VALUE_AT, "value")):
            columns[rows + 1] = [-1 if (found := getattr(each, name)) is None else len(found) for each in records]
        columns[OFFSET] = [each.offset for each in records]
        columns[TIMESTAMP] = [each.timestamp for each in records]
        sizes = np.maximum(columns[[KEY_SIZE, VALUE_SIZE]], 0)
        ends = np.cumsum(sizes.T.reshape(-1)).reshape(-1, 2).T
        columns[[KEY_AT, VALUE_AT]] = ends - sizes
        return cls(b"".join(part for each in records for part in (each.key, each.value) if part), columns)


class Taken:
    """What the client library takes for a list of records: as long as there are records, a few parts to go through."""

    def __init__(self, parts: list[RecordColumns]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[RecordColumns]:
        return iter(self._parts)


def columns_frame(parts: Sequence[RecordColumns]) -> pl.DataFrame:
    """The records of all parts, in order, in RECORD_SCHEMA."""
    if sum(int(part.sizes.sum()) for part in parts) > LARGE_RECORD * sum(map(len, parts)):
        return _large_frame(parts)
    # Only the bytes of these records: a large batch is given in several polls, and is not copied whole for each.
    bounds = [part.bounds for part in parts]
    ends = np.cumsum([stop - start for start, stop in bounds])
    shifts = [end - stop for end, (_, stop) in zip(ends.tolist(), bounds, strict=True)]
    columns = np.concatenate([part.columns for part in parts], axis=1)
    columns[[KEY_AT, VALUE_AT]] += np.repeat(shifts, [len(part) for part in parts])
    views = (memoryview(part.content)[start:stop] for part, (start, stop) in zip(parts, bounds, strict=True))
    content = b"".join(views)
    names = {
        "offset": OFFSET,
        "timestamp_ms": TIMESTAMP,
        "ka": KEY_AT,
        "ks": KEY_SIZE,
        "va": VALUE_AT,
        "vs": VALUE_SIZE,
    }
    frame = pl.DataFrame({name: columns[row] for name, row in names.items()})
    held = pl.lit(pl.Series([content], dtype=pl.Binary))
    spans = [_span(held, "ka", "ks").alias("key"), _span(held, "va", "vs").alias("value")]
    return frame.select_seq("offset", "timestamp_ms", *spans).cast(RECORD_SCHEMA)


def _span(content: pl.Expr, start: str, size: str) -> pl.Expr:
    spans = content.bin.slice(pl.col(start), pl.max_horizontal(pl.col(size), 0))
    return pl.when(pl.col(size) >= 0).then(spans)


def _large_frame(parts: Sequence[RecordColumns]) -> pl.DataFrame:
    columns = np.concatenate([part.columns for part in parts], axis=1)
    named = {"offset": columns[OFFSET], "timestamp_ms": columns[TIMESTAMP]}
    texts = {"key": (KEY_AT, KEY_SIZE), "value": (VALUE_AT, VALUE_SIZE)}
    cut = {name: [text for part in parts for text in part.cut(*rows)] for name, rows in texts.items()}
    return pl.DataFrame(named | cut, schema=RECORD_SCHEMA)
