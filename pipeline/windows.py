"""Windows per entity in event time: a pure function of a partition's records, whatever the batches they come in.

A *session* is a run of an entity's events without an idle gap that stays inside one cell of the entity's
`max_duration` grid; `max_events` cuts a session into windows. Both session borders show from the events on either
side of them, so reading again from `replay_point` rebuilds every open window exactly, and no other state is kept.
Closing early, when the watermark proves that no event can join, never changes a window, only when it is announced.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.pipeline.share import OWN
from longwatch.pipeline.window_columns import PLACES, Rows, WindowColumns
from longwatch.pipeline.window_state import (
    MAX_EVENTS,
    NEVER_MS,
    PARTITION_IDLE,
    Close,
    ReplayPoint,
    Session,
    Window,
    WindowRules,
)


@dataclass(frozen=True)
class Advance:
    """What a batch did: the windows it touched or closed, and the rows that came too late."""

    windows: list[Window]
    late: pl.DataFrame


@dataclass
class _Batch:
    """On-time events of a batch, in offset order, and the watermark after each."""

    offsets: NDArray[np.int64]
    watermark: NDArray[np.int64]
    touched: dict[int, Window] = field(default_factory=dict)

    def touch(self, window: Window | None) -> None:
        if window is not None:
            self.touched[id(window)] = window

    def offset_past(self, deadline_ms: int, at_latest: int) -> int:
        """Offset of the first event whose watermark is past the deadline, at the latest that at row `at_latest`."""
        row = int(np.searchsorted(self.watermark, deadline_ms, side="right"))
        return int(self.offsets[min(row, at_latest)])


class PartitionWindows:
    """Open windows of one partition."""

    def __init__(self, rules: WindowRules, partition_time_ms: int = NEVER_MS, last_timestamp_ms: int = -1) -> None:
        self.rules = rules
        self.partition_time_ms = partition_time_ms
        self.last_timestamp_ms = last_timestamp_ms
        self._after_last = 0
        self._sessions: dict[str, Session] = {}
        self._deadlines: list[tuple[int, int, str]] = []
        self._tie = count()

    @property
    def num_open(self) -> int:
        """Entities with an open session."""
        return len(self._sessions)

    @property
    def watermark_ms(self) -> int:
        """No event older than this is awaited."""
        return self.partition_time_ms - self.rules.allowed_lateness_ms

    def replay_point(self, next_offset: int) -> ReplayPoint:
        """From where reading again rebuilds every open window; `next_offset` where none is open."""
        points = [session.replay for session in self._sessions.values()]
        return min(points, default=ReplayPoint(next_offset, self.partition_time_ms, self.last_timestamp_ms))

    def advance(self, records: pl.DataFrame, events: pl.DataFrame) -> Advance:
        """Take the next records: `records` holds offset and timestamp_ms of all, `events` the decoded ones.

        `events` has offset, event_time_ms, entity, line, template_id, template, parameter_chars and is_new; where it
        has OWN, the others only move the watermark: the windows are those that all events give, of these entities.
        """
        parts = [self._advance_part(part, trigger) for part, trigger in self._split_at_silence(records, events)]
        windows = {id(window): window for part in parts for window in part.windows}
        return Advance(list(windows.values()), pl.concat([part.late for part in parts]))

    def close_all(self, trigger_offset: int, reason: str = PARTITION_IDLE) -> list[Window]:
        """Close every open window because the partition went quiet; `trigger_offset` is that behind the last record."""
        close = Close(reason, trigger_offset)
        windows = [window for session in self._sessions.values() if (window := session.close_window(close))]
        self._sessions.clear()
        self._deadlines.clear()
        return windows

    def _split_at_silence(self, records: pl.DataFrame, events: pl.DataFrame) -> list[tuple[pl.DataFrame, int | None]]:
        """Cut a batch where the partition was silent for `idle_timeout`: there all its windows close.

        The close belongs to the offset behind the record before the silence, as it does where a live worker waits.
        """
        stamps = np.maximum.accumulate(np.concatenate([[self.last_timestamp_ms], records["timestamp_ms"].to_numpy()]))
        self.last_timestamp_ms = int(stamps[-1])
        behind = np.concatenate([[self._after_last], records["offset"].to_numpy() + 1])
        self._after_last = int(behind[-1])
        before = stamps[np.searchsorted(records["offset"].to_numpy(), events["offset"].to_numpy())]
        events = events.with_columns(pl.Series("partition_arrival_ms", before, pl.Int64))
        if self.rules.idle_timeout_ms is None:
            return [(events, None)]
        silent = (stamps[:-1] >= 0) & (np.diff(stamps) >= self.rules.idle_timeout_ms)
        borders = records["offset"].to_numpy()[silent].tolist()
        cuts = [0, *np.searchsorted(events["offset"].to_numpy(), borders).tolist(), len(events)]
        return [
            (events.slice(start, stop - start), trigger)
            for start, stop, trigger in zip(cuts[:-1], cuts[1:], [None, *behind[:-1][silent].tolist()], strict=True)
        ]

    def _advance_part(self, events: pl.DataFrame, silence_ended_at: int | None) -> Advance:
        closed = [] if silence_ended_at is None else self.close_all(silence_ended_at)
        times = events["event_time_ms"].to_numpy()
        highest = np.maximum.accumulate(np.concatenate([[self.partition_time_ms], times]))
        on_time = times >= highest[:-1] - self.rules.allowed_lateness_ms
        late = _own(events.filter(pl.Series(~on_time, dtype=pl.Boolean)))
        events = events.filter(pl.Series(on_time, dtype=pl.Boolean))
        batch = _Batch(events["offset"].to_numpy(), highest[1:][on_time] - self.rules.allowed_lateness_ms)
        self.partition_time_ms = int(highest[-1])
        for group in _by_entity(events, highest[:-1][on_time], self.rules.idle_gap_ms):
            if not self._appends(group, batch):
                self._extend(group, batch)
        self._expire(batch)
        return Advance([*closed, *batch.touched.values()], late)

    def _appends(self, group: _Group, batch: _Batch) -> bool:
        """Whether a group only makes the entity's open window longer: most do; then that is done."""
        session = self._sessions.get(group.entity)
        if session is None or (window := session.window) is None or group.has_break:
            return False
        gap_ms = group.first_ms - session.last_time_ms
        if (
            gap_ms > self.rules.idle_gap_ms
            or group.highest_ms >= session.cell_end_ms
            or window.num_events + len(group.rows) >= self.rules.max_events
        ):
            return False
        group.rows["gap_ms"][0] = max(0, gap_ms)
        session.last_time_ms = group.last_ms
        window.columns.append(group.rows)
        batch.touch(window)
        self._queue(group.entity, session)
        return True

    def _extend(self, group: _Group, batch: _Batch) -> None:
        """Add one entity's rows, wherever sessions and windows end among them."""
        entity, rows, positions = group.entity, group.rows, group.positions
        session = self._sessions.get(entity)
        times = rows["event_time_ms"]
        start = 0
        while start < len(times):
            piece = rows.slice(start, len(rows))
            if session is None or not session.joins(int(times[start]), self.rules):
                session = self._succeed(entity, session, piece, int(positions[start]), batch)
            stop = start + _joining(times[start:], session, self.rules)
            self._fill(entity, session, rows.slice(start, stop), batch)
            start = stop
        if session is not None:
            self._sessions[entity] = session
            self._queue(entity, session)

    def _succeed(self, entity: str, old: Session | None, rows: Rows, position: int, batch: _Batch) -> Session:
        """Close what was open and begin a session with the first of `rows`; context is carried unless it was idle."""
        time_ms = int(rows["event_time_ms"][0])
        cell_end_ms = _cell_end(entity, time_ms, self.rules.max_duration_ms)
        if old is not None:
            self._end_cell(old, position, batch)
            if time_ms - old.last_time_ms <= self.rules.idle_gap_ms:
                old.cell_end_ms, old.cell_is_over = cell_end_ms, False
                return old
        rows["gap_ms"][0] = -1
        return Session(cell_end_ms, ReplayPoint.at(rows, 0), time_ms)

    def _end_cell(self, session: Session, position: int, batch: _Batch) -> None:
        """Close the open window; from here on only the tail must be read again to go on with the entity."""
        if session.cell_is_over:
            return
        trigger = batch.offset_past(session.deadline_ms(self.rules), position)
        session.tail = self._carried(session)
        session.replay = ReplayPoint.at(session.tail, 0)
        batch.touch(session.close_window(Close(session.close_reason(self.rules), trigger)))
        session.cell_is_over = True

    def _carried(self, session: Session) -> Rows:
        """The last `overlap` events, and the one before that shows the first one's gap when they are read again."""
        return session.window.columns.tail(self.rules.overlap + 1) if session.window else session.tail

    def _fill(self, entity: str, session: Session, rows: Rows, batch: _Batch) -> None:
        """Append rows of one session, closing windows at `max_events`."""
        gaps, times, offsets = (rows[name] for name in ("gap_ms", "event_time_ms", "offset"))
        if gaps[0] == NEVER_MS:
            gaps[0] = max(0, int(times[0]) - session.last_time_ms)
        session.last_time_ms = int(times[-1])
        start = 0
        while start < len(rows):
            window = session.window or self._open(entity, session, int(offsets[start]))
            stop = min(len(rows), start + self.rules.max_events - window.num_events)
            window.columns.append(rows.slice(start, stop))
            batch.touch(window)
            if window.num_events == self.rules.max_events:
                session.tail = self._carried(session)
                session.close_window(Close(MAX_EVENTS, int(offsets[stop - 1])))
            start = stop

    def _open(self, entity: str, session: Session, first_offset: int) -> Window:
        columns = WindowColumns()
        context = session.tail.slice(max(0, len(session.tail) - self.rules.overlap), len(session.tail))
        if len(context):
            columns.append(context)
        session.window = Window(entity, first_offset, len(columns), columns, len(columns))
        return session.window

    def _queue(self, entity: str, session: Session) -> None:
        deadline_ms = session.deadline_ms(self.rules)
        if session.queued_ms is None or deadline_ms < session.queued_ms:
            session.queued_ms = deadline_ms
            heapq.heappush(self._deadlines, (deadline_ms, next(self._tie), entity))

    def _expire(self, batch: _Batch) -> None:
        """Close windows and forget sessions that the watermark has left behind."""
        while self._deadlines and self._deadlines[0][0] < self.watermark_ms:
            queued_ms, _, entity = heapq.heappop(self._deadlines)
            session = self._sessions.get(entity)
            if session is None or session.queued_ms != queued_ms:
                continue
            session.queued_ms = None
            if session.deadline_ms(self.rules) < self.watermark_ms:
                self._end_cell(session, len(batch.offsets) - 1, batch)
            if session.last_time_ms + self.rules.idle_gap_ms < self.watermark_ms:
                del self._sessions[entity]
            else:
                self._queue(entity, session)


# In the order of DTYPES; gaps and partition times are worked out and written over what stands in their places.
_GIVEN = ("offset", "event_time_ms", "template_id", "offset", "parameter_chars", "offset", "partition_arrival_ms")


class _Group(NamedTuple):
    """One entity's on-time events of a batch; `positions` are their places among the batch's on-time events.

    `has_break` says that an idle gap lies among them.
    """

    entity: str
    rows: Rows
    positions: NDArray[np.int64]
    first_ms: int
    last_ms: int
    highest_ms: int
    has_break: bool


def _joining(times: NDArray[np.int64], session: Session, rules: WindowRules) -> int:
    """How many leading events stay in the session; the first always does."""
    leaves = (np.diff(times) > rules.idle_gap_ms) | (times[1:] >= session.cell_end_ms)
    return int(np.argmax(leaves)) + 1 if leaves.any() else len(times)


def _cell_end(entity: str, time_ms: int, max_duration_ms: int) -> int:
    """End of the entity's grid cell around `time_ms`; each entity's grid is shifted, so that not all close at once."""
    digest = blake2b(entity.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    shift = int.from_bytes(digest, "big") % max_duration_ms
    return time_ms - (time_ms - shift) % max_duration_ms + max_duration_ms


def _own(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(OWN) if OWN in events.columns else events


def _by_entity(events: pl.DataFrame, before: NDArray[np.int64], idle_gap_ms: int) -> Iterator[_Group]:
    """Split own on-time events by entity, order kept; gaps inside the batch filled in, the first of each left open."""
    places: NDArray[np.int64] | None = None
    if OWN in events.columns:
        places = np.flatnonzero(events[OWN].to_numpy())
        events, before = _own(events), before[places]
    if events.is_empty():
        return
    codes = events["entity"].rle_id() if events["entity"].n_unique() == 1 else events["entity"].rank("dense")
    order = np.argsort(codes.to_numpy(), kind="stable")
    ordered = events[order]
    starts = np.flatnonzero(np.diff(codes.to_numpy()[order], prepend=-1))
    matrix = np.stack([ordered[name].to_numpy().astype(np.int64, copy=False) for name in _GIVEN])
    times, gaps = matrix[PLACES["event_time_ms"]], matrix[PLACES["gap_ms"]]
    matrix[PLACES["partition_time_ms"]] = before[order]
    gaps[:] = np.maximum(0, np.diff(times, prepend=0))
    gaps[starts] = NEVER_MS
    new = dict(events.filter("is_new").select("template_id", "template").unique().iter_rows())
    rows, bounds = Rows(matrix, ordered["line"].to_list(), new), [*starts.tolist(), len(order)]
    at = order if places is None else places[order]
    yield from map(
        _Group,
        ordered["entity"].gather(starts).to_list(),
        (rows.slice(start, stop) for start, stop in pairwise(bounds)),
        (at[start:stop] for start, stop in pairwise(bounds)),
        times[starts].tolist(),
        times[np.array(bounds[1:]) - 1].tolist(),
        np.maximum.reduceat(times, starts).tolist(),
        np.logical_or.reduceat(gaps > idle_gap_ms, starts).tolist(),
    )
