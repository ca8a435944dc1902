"""The growing columns of one open window: amortised appends, views without copies, lines kept as Polars series."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
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


@dataclass(frozen=True)
class Rows:
    """Consecutive events of one entity: each column of `DTYPES` as [n], their lines, and texts of new templates."""

    columns: dict[str, NDArray[Any]]
    lines: pl.Series
    new_templates: dict[int, str]

    @classmethod
    def none(cls) -> Rows:
        """No rows."""
        return cls({name: np.empty(0, dtype) for name, dtype in DTYPES.items()}, pl.Series("line", [], pl.String), {})

    def __len__(self) -> int:
        return len(self.columns["offset"])

    def slice(self, start: int, stop: int) -> Rows:
        """Rows start:stop; `new_templates` stays whole, which a superset may."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Rows(columns, self.lines.slice(start, stop - start), self.new_templates)


class WindowColumns:
    """Columns of an open window, growing by doubling."""

    def __init__(self, capacity: int = 16) -> None:
        self._arrays: dict[str, NDArray[Any]] = {name: np.empty(capacity, dtype) for name, dtype in DTYPES.items()}
        self._lines: list[pl.Series] = []
        self._line_starts: list[int] = []
        self._length = 0
        self.new_templates: dict[int, str] = {}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self._length]

    def append(self, rows: Rows) -> None:
        """Add rows at the end."""
        stop = self._length + len(rows)
        self._reserve(stop)
        for name, values in rows.columns.items():
            self._arrays[name][self._length : stop] = values
        self._line_starts.append(self._length)
        # Copied: a slice would keep the lines of its whole batch in memory for as long as the window is open.
        self._lines.append(pl.Series("line", rows.lines.to_list(), pl.String))
        self._length = stop
        self._keep_new_templates(rows)

    def line(self, row: int) -> str:
        """The line of one row as shown to a person."""
        chunk = bisect_right(self._line_starts, row) - 1
        return str(self._lines[chunk][row - self._line_starts[chunk]])

    def tail(self, count: int) -> Rows:
        """The last `count` rows, copied, so that the window they come from can be let go."""
        start = max(0, self._length - count)
        columns = {name: self[name][start:].copy() for name in DTYPES}
        lines = pl.Series("line", [self.line(row) for row in range(start, self._length)], dtype=pl.String)
        return Rows(columns, lines, dict(self.new_templates))

    def _reserve(self, length: int) -> None:
        capacity = len(self._arrays["offset"])
        if length <= capacity:
            return
        capacity = max(length, 2 * capacity)
        for name, array in self._arrays.items():
            grown = np.empty(capacity, array.dtype)
            grown[: self._length] = array[: self._length]
            self._arrays[name] = grown

    def _keep_new_templates(self, rows: Rows) -> None:
        if not rows.new_templates:
            return
        present = set(rows.columns["template_id"].tolist())
        self.new_templates.update({key: text for key, text in rows.new_templates.items() if key in present})
