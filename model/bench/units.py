"""What is judged: windows of a stream or whole traces, in three roles that never mix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from longwatch.model.dataset import Windows, interleaved
from longwatch.model.tokens import WindowTokens

DAY_MS = 86_400_000
TOKEN_COLUMNS = ("template_id", "gap_ms", "parameter_chars")

Shape = Literal["stream", "trace"]


@dataclass(frozen=True)
class Units:
    """B windows in order of time, and whose each is; without times each is an entity of its own.

    entity: int64 [B]. shape: a stream's windows are cuts of what goes on, a trace is a whole life.
    timed: whether `start_ms`, `end_ms` and the gaps mean anything.
    """

    windows: Windows
    entity: NDArray[np.int64]
    shape: Shape
    timed: bool

    def __post_init__(self) -> None:
        if len(self.entity) != len(self.windows):
            raise ValueError(f"expected an entity for each of {len(self.windows)} windows, found {len(self.entity)}")

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def days(self) -> float:
        """Time that the units span; nan without times."""
        if not self.timed or not len(self):
            return float("nan")
        return max(int(self.windows.end_ms.max()) - int(self.windows.start_ms.min()), 1000) / DAY_MS

    def select(self, index: NDArray[np.int64]) -> "Units":
        """The units with these numbers, in this order."""
        return Units(self.windows.select(index), self.entity[index], self.shape, self.timed)

    def joined(self, other: "Units") -> "Units":
        """Both, in order of time."""
        return join_units([self, other])

    def event_times(self) -> NDArray[np.int64]:
        """Event time of each token, ms, packed int64 [N]; of context tokens it is the first own event's."""
        tokens = self.windows.tokens
        rows = np.arange(len(tokens.template_id))
        window = np.repeat(np.arange(len(self)), tokens.lengths)
        first = (tokens.cu_seqlens[:-1] + tokens.scored).astype(np.int64)[window]
        gaps = np.where(rows > first, np.maximum(tokens.gap_ms, 0), 0)
        total = np.concatenate([[0], np.cumsum(gaps)])
        return np.asarray(self.windows.start_ms[window] + total[rows + 1] - total[first + 1], dtype=np.int64)


def join_units(parts: Sequence[Units]) -> Units:
    """All units of the parts in order of time, earlier parts first among equals."""
    tokens = [part.windows.tokens for part in parts]
    ids, gaps, shapes = (np.concatenate([getattr(each, name) for each in tokens]) for name in TOKEN_COLUMNS)
    bounds = np.concatenate([[0], np.cumsum(np.concatenate([each.lengths for each in tokens]))]).astype(np.int32)
    scored = np.concatenate([each.scored for each in tokens])
    texts = {number: text for each in tokens for number, text in each.templates.items()}
    start, end = (np.concatenate([getattr(part.windows, name) for part in parts]) for name in ("start_ms", "end_ms"))
    windows = Windows(WindowTokens(ids, gaps, shapes, bounds, scored, texts), start, end)
    entity = np.concatenate([part.entity for part in parts])
    whole = Units(windows, entity, parts[0].shape, parts[0].timed)
    return whole.select(np.argsort(windows.start_ms, kind="stable"))


@dataclass(frozen=True)
class Past:
    """All that a method may learn from: normal units, earlier than any that is judged.

    fit: weights and counts. tune: early stop, orders. calibration: thresholds and p-values, seen by neither.
    """

    fit: Units
    tune: Units
    calibration: Units

    @property
    def whole(self) -> Units:
        """All of it, in order of time."""
        return join_units([self.fit, self.tune, self.calibration])

    @property
    def spent(self) -> "Past":
        """The same with nothing held out to calibrate: for a method that calibrates forward in time."""
        return Past(self.fit.joined(self.calibration), self.tune, self.calibration)

    @property
    def calibration_days(self) -> float:
        """How long live traffic takes to bring as many units as calibrate; nan without times."""
        parts = (self.fit, self.tune, self.calibration)
        if not self.fit.timed:
            return float("nan")
        first = min(int(part.windows.start_ms.min()) for part in parts)
        last = max(int(part.windows.end_ms.max()) for part in parts)
        return max(last - first, 1000) / DAY_MS * len(self.calibration) / sum(map(len, parts))


def split_past(normal: Units, tune: float = 0.1, calibration: float = 0.3) -> Past:
    """Interleaves in time, like `longwatch train`: each part holds units of the whole past."""
    order = np.argsort(normal.windows.start_ms, kind="stable")
    return Past(*(normal.select(order[part]) for part in interleaved(len(normal), tune, calibration)))
