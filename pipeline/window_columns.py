"""The growing columns of one open window: one array, amortised appends, views without copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[str, type] = {
    "offset": np.int64,
    "event_time_ms": np.int64,
    "template_id": np.uint64,
    "gap_ms": np.int64,
    "parameter_chars": np.int32,
    "partition_time_ms": np.int64,
    "partition_arrival_ms": np.int64,
}
"""`partition_time_ms` and `partition_arrival_ms` are the partition's highest event time and arrival before the row:
what reading again from there starts with."""

PLACES = {name: place for place, name in enumerate(DTYPES)}


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive events of one entity: `matrix` [columns of DTYPES, n] as 64 bits, lines, texts of new templates."""

    matrix: NDArray[np.int64]
    lines: list[str]
    new_templates: dict[int, str]

    @classmethod
    def none(cls) -> Rows:
        """No rows."""
        return _NO_ROWS

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        row: NDArray[np.int64] = self.matrix[PLACES[name]]
        return row

    def slice(self, start: int, stop: int) -> Rows:
        """Rows start:stop; `new_templates` stays whole, which a superset may."""
        return Rows(self.matrix[:, start:stop], self.lines[start:stop], self.new_templates)


_NO_ROWS = Rows(np.empty((len(DTYPES), 0), np.int64), [], {})


class WindowColumns:
    """Columns of an open window, in one array that doubles: a call costs more than the few rows it adds."""

    __slots__ = ("_lines", "_matrix", "new_templates")

    def __init__(self, capacity: int = 16) -> None:
        self._matrix = np.empty((len(DTYPES), capacity), np.int64)
        self._lines: list[str] = []
        self.new_templates: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, name: str) -> NDArray[Any]:
        column, dtype = self._matrix[PLACES[name], : len(self._lines)], DTYPES[name]
        return column.view(np.uint64) if dtype is np.uint64 else column.astype(dtype, copy=False)

    def append(self, rows: Rows) -> None:
        """Add rows at the end."""
        start = len(self._lines)
        stop = start + len(rows.lines)
        if stop > self._matrix.shape[1]:
            self._reserve(stop)
        self._matrix[:, start:stop] = rows.matrix
        self._lines += rows.lines
        if rows.new_templates:
            self._keep_new_templates(rows)

    def line(self, row: int) -> str:
        """The line of one row as shown to a person."""
        return self._lines[row]

    def tail(self, count: int) -> Rows:
        """The last `count` rows, copied, so that the window they come from can be let go."""
        start, stop = max(0, len(self) - count), len(self)
        return Rows(self._matrix[:, start:stop].copy(), self._lines[start:], dict(self.new_templates))

    def _reserve(self, length: int) -> None:
        grown = np.empty((len(DTYPES), max(length, 2 * self._matrix.shape[1])), np.int64)
        grown[:, : len(self)] = self._matrix[:, : len(self)]
        self._matrix = grown

    def _keep_new_templates(self, rows: Rows) -> None:
        present = set(rows["template_id"].view(np.uint64).tolist())
        self.new_templates.update({key: text for key, text in rows.new_templates.items() if key in present})
