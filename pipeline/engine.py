"""Records in, outputs and positions out: decode, templates, windows and detector of every assigned partition.

No I/O and no clock: the worker, the backtest and the tests run this same code and differ in where records come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.assigned import Assigned
from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.detector import Detector
from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.feedback.silence import Silencer
from longwatch.pipeline.masking.masker import NOTHING, Masker
from longwatch.pipeline.outputs import Kind, Output, late_reasons, originals
from longwatch.pipeline.reading import Reading, Readings
from longwatch.pipeline.records import Partition, RecordBatch, split
from longwatch.pipeline.setting import InForce, Setting, Settings
from longwatch.pipeline.share import WHOLE, Share, num_own
from longwatch.pipeline.stages import Stage, Timed, untimed
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.window_state import BUNDLE_SWAPPED, NEVER_MS, Window, WindowRules
from longwatch.pipeline.windows import Advance, PartitionWindows

RAISE_ALL = Silencer()


@dataclass
class Result:
    """What a batch of records led to; `score_frames` holds every event score, for backtests.

    `touched` are the windows scored on the way, which go on changing; `num_unseen` events have a template that
    training lacked. Records read again to rebuild windows count as records alone.
    """

    outputs: list[Output] = field(default_factory=list)
    score_frames: list[pl.DataFrame] = field(default_factory=list)
    num_records: int = 0
    num_events: int = 0
    num_unseen: int = 0
    touched: list[Touched] = field(default_factory=list)


@dataclass(frozen=True)
class _Digested:
    """Windows to score, and the dead letters and late events met on the way."""

    touched: list[Touched]
    outputs: list[Output]
    num_events: int
    num_unseen: int


class Engine:
    """The state of all assigned partitions; each partition's outputs depend on its own records only."""

    def __init__(
        self,
        decoder: Decoder,
        templates: TemplateColumns,
        rules: WindowRules,
        detector: Detector,
        digests: tuple[str, str],
        *,
        keep_scores: bool = False,
        silencer: Silencer = RAISE_ALL,
        timed: Timed = untimed,
        masker: Masker = NOTHING,
        share: Share = WHOLE,
        settings: Settings | None = None,
        readings: Callable[[str], Reading] | None = None,
    ) -> None:
        self._decoder = decoder
        self._rules = rules
        bundle, self._config = (digest[:16] for digest in digests)
        self._readings = Readings(Reading(bundle, templates, detector), readings)
        self._wanted: Setting | None = None
        self._keep_scores = keep_scores
        self._silencer = silencer
        self._timed = timed
        self._masker = masker
        self._share = share
        self.settings = settings
        self._assigned: dict[Partition, Assigned] = {}

    def assign(self, partition: Partition, position: Position | None, start: int, *, readable_from: int = 0) -> int:
        """Begin a partition; gives the offset to read from: `replay_from`, so that its open windows are rebuilt.

        Without a committed position reading begins at `start`. What lies before `readable_from` is gone: windows
        that began there are cut, and their alerts say `partial`.
        """
        told = None if position is None else position.metadata
        silence = self._silencer.of(partition, told.steps if told else ())
        in_force = self.settings.of(partition, told.changes if told else ()) if self.settings else None
        if in_force is not None and position is None:
            in_force.begin_at(start)
        reading = self._reading(in_force)
        if position is None:
            windows = PartitionWindows(self._rules)
            self._assigned[partition] = Assigned(windows, reading, start, start, silence=silence, in_force=in_force)
            return start
        state = Assigned.resumed(position, readable_from, self._rules, reading, silence, in_force)
        self._assigned[partition] = state
        return state.next_offset

    def _reading(self, in_force: InForce | None) -> Reading:
        return self._readings.first if in_force is None else self._readings.of(in_force.last.bundle[:16])

    def forget(self, partition: Partition) -> None:
        """Drop a partition's state: another worker has it now."""
        self._assigned.pop(partition, None)

    @property
    def marks(self) -> MarkBook:
        """The book of marks that its alerts are silenced by; a log that is followed adds to it."""
        return self._silencer.book

    @property
    def partitions(self) -> list[Partition]:
        """Assigned partitions."""
        return list(self._assigned)

    def process(self, batches: Sequence[RecordBatch]) -> Result:
        """Take the next records of any assigned partitions."""
        batches = [batch for batch in batches if batch.partition in self._assigned and len(batch.frame)]
        digested = [self._digest(batch) for batch in batches]
        touched = [item for part in digested for item in part.touched]
        result = Result([*self._told(), *(output for part in digested for output in part.outputs)])
        result.num_records = sum(len(batch.frame) for batch in batches) if self._share.leads else 0
        result.num_events = sum(part.num_events for part in digested)
        result.num_unseen = sum(part.num_unseen for part in digested)
        return self._detect(touched, result)

    def skip(self, partition: Partition, next_offset: int) -> None:
        """Go on at `next_offset`: what lies before it and was not given cannot be read."""
        if (state := self._assigned.get(partition)) is not None:
            state.next_offset = max(state.next_offset, next_offset)

    def cut(self, partition: Partition, first_kept: int) -> None:
        """Retention took unread records before `first_kept`: alerts of windows that began there say `partial`."""
        if (state := self._assigned.get(partition)) is not None:
            state.partial_below = max(state.partial_below, first_kept)

    def close_idle(self, partition: Partition) -> Result:
        """Close a silent partition's windows, as the next record would after such a silence."""
        state = self._assigned[partition]
        trigger = state.silence_closed_at = max(state.next_offset, state.committed)
        windows = state.windows.close_all(trigger)
        return self._detect([self._touch(partition, window) for window in windows], Result())

    def heed(self, upto: int) -> Result:
        """Have the marks before `upto` of their log in force from here on, in every partition; says where in each.

        Of a partition that is rebuilt it is said once it is, for its position is committed only then. One whose steps
        fill a commit's metadata waits until its oldest open window closes.
        """
        for partition, state in self._assigned.items():
            state.heed(partition, upto)
        return Result(self._told())

    def adopt(self, setting: Setting) -> Result:
        """Have a configuration in force from here on, in every partition where it is not; recorded as marks are.

        Where it comes with another bundle, that judges once the partition has been swapped.
        """
        self._wanted = setting
        for partition, state in self._assigned.items():
            state.adopt(partition, setting)
        return Result(self._told())

    @property
    def swaps(self) -> list[Partition]:
        """Partitions that another bundle is to judge from here on: commit them, then swap each."""
        return [partition for partition, state in self._assigned.items() if state.swaps(self._wanted)]

    def swap(self, partition: Partition, *, readable_from: int = 0) -> int:
        """Begin a partition again under the other bundle, at where it stands; gives the offset to read from.

        Alerts that are open end here, by the bundle that opened them. What it closed is given with the record of the
        swap, once the open windows are rebuilt: only then can the position be committed with them.
        """
        before = self._assigned[partition]
        if before.waits_for_silence:
            before.unsaid += self.close_idle(partition).outputs
        offset, position = before.begins_at[0], self._position(before)
        closed = before.windows.close_all(offset, BUNDLE_SWAPPED)
        before.unsaid += self._detect([self._touch(partition, window) for window in closed], Result()).outputs
        before.swap(partition, self._wanted, position)
        reading = self._reading(before.in_force)
        state = Assigned.resumed(position, readable_from, self._rules, reading, before.silence, before.in_force)
        state.partial_below, state.unsaid = max(before.partial_below, state.partial_below), before.unsaid
        self._assigned[partition] = state
        self._readings.keep({each.reading.bundle for each in self._assigned.values()})
        return state.next_offset

    def _told(self) -> list[Output]:
        return [output for partition, state in self._assigned.items() for output in state.say(partition)]

    def silent_since_ms(self, partition: Partition) -> int | None:
        """Arrival time of the last record of a partition that has open windows; None where nothing waits."""
        windows = self._assigned[partition].windows
        return windows.last_timestamp_ms if windows.num_open and windows.last_timestamp_ms >= 0 else None

    @property
    def next_offsets(self) -> dict[Partition, int]:
        """The next record to take of each assigned partition."""
        return {partition: state.next_offset for partition, state in self._assigned.items()}

    @property
    def watermarks(self) -> dict[Partition, int]:
        """Of each assigned partition with an event: no older one is awaited; milliseconds."""
        states = {each: state.windows for each, state in self._assigned.items()}
        return {each: windows.watermark_ms for each, windows in states.items() if windows.partition_time_ms > NEVER_MS}

    @property
    def replay_distances(self) -> dict[Partition, int]:
        """Records that a restart would read again to rebuild each partition's open windows."""
        points = {each: state.windows.replay_point(state.next_offset) for each, state in self._assigned.items()}
        return {each: max(0, state.next_offset - points[each][0]) for each, state in self._assigned.items()}

    @property
    def num_open_windows(self) -> int:
        """Open windows of all assigned partitions."""
        return sum(state.windows.num_open for state in self._assigned.values())

    @property
    def rebuilding(self) -> dict[Partition, tuple[int, int]]:
        """Partitions that are not yet where they were committed: the next offset, and the committed one."""
        return {each: (state.next_offset, state.committed) for each, state in self._assigned.items() if state.behind}

    def positions(self) -> dict[Partition, Position]:
        """Where each partition stands: commit these together with all outputs given so far."""
        return {partition: self._position(state) for partition, state in self._assigned.items() if not state.behind}

    def _position(self, state: Assigned) -> Position:
        return state.position(self._config)

    def _digest(self, batch: RecordBatch) -> _Digested:
        """Windows of one batch; what lies below the committed offset only rebuilds them, silently."""
        state = self._assigned[batch.partition]
        again, new = split(batch, state.committed, state.upto)
        for part in again:
            self._advance(state, part, self._events(part, state.reading)[0])
        outputs: list[Output] = []
        touched: list[Touched] = []
        num_events = num_unseen = 0
        for part in new:
            events, rejected = self._events(part, state.reading)
            advance = self._advance(state, part, events)
            num_events, num_unseen = num_events + num_own(events), num_unseen + int(events["is_new"].sum())
            touched += [self._touch(part.partition, window) for window in advance.windows]
            if self._share.leads:
                outputs += originals(Kind.DEAD_LETTER, part, rejected, self._masker)
            outputs += originals(
                Kind.LATE, part, late_reasons(advance.late, self._rules.allowed_lateness_ms), self._masker
            )
        # Not the batch's own: how far it lies behind the last record depends on when the broker was asked.
        behind = int(batch.frame["offset"][-1]) + 1
        state.next_offset = max(state.next_offset, behind if state.upto is None else min(behind, state.upto))
        return _Digested(touched, outputs, num_events, num_unseen)

    def _advance(self, state: Assigned, batch: RecordBatch, events: pl.DataFrame) -> Advance:
        with self._timed(Stage.WINDOWS):
            return state.windows.advance(batch.frame, events)

    def _touch(self, partition: Partition, window: Window) -> Touched:
        state = self._assigned[partition]
        partial = window.first_offset < state.partial_below
        return Touched(partition, window, state.committed, partial, state.silence, state.in_force)

    def _events(self, batch: RecordBatch, reading: Reading) -> tuple[pl.DataFrame, pl.DataFrame]:
        with self._timed(Stage.DECODE):
            decoded = self._decoder.decode(batch.frame)
        with self._timed(Stage.TEMPLATES):
            return reading.templates.add(decoded.events, self._share), decoded.rejected

    def _detect(self, touched: list[Touched], result: Result) -> Result:
        moving = {partition: state.moving for partition, state in self._assigned.items()}
        for reading, items in self._by_reading(touched):
            alerts, frames = reading.detector.detect(items, moving, keep_scores=self._keep_scores)
            result.outputs += alerts
            result.score_frames += frames
        result.touched = touched
        return result

    def _by_reading(self, touched: list[Touched]) -> Iterator[tuple[Reading, list[Touched]]]:
        """While some partitions are still under another bundle, one batch is judged by two."""
        readings = {partition: self._assigned[partition].reading for partition in {item.partition for item in touched}}
        for reading in {id(each): each for each in readings.values()}.values():
            yield reading, [item for item in touched if readings[item.partition] is reading]
