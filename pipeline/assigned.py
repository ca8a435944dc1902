"""One assigned partition: its windows, where it stands, who judges them, and which marks and settings are in force."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import msgspec

from longwatch.pipeline.alert_builder import NO_SILENCE
from longwatch.pipeline.checkpoint import VERSION, WITH_BUNDLES, WITH_MARKS, Metadata, Position
from longwatch.pipeline.feedback.silence import MOST_STEPS, Effect, Silence, moment_of
from longwatch.pipeline.moving import MovingThresholds
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.reading import Reading
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Change, InForce, Setting
from longwatch.pipeline.window_state import WindowRules
from longwatch.pipeline.windows import PartitionWindows


@dataclass
class Assigned:
    """Outputs of records below `committed` were made by an earlier life of the worker."""

    windows: PartitionWindows
    reading: Reading
    next_offset: int
    committed: int
    partial_below: int = -1
    moving: MovingThresholds = field(default_factory=MovingThresholds)
    silence: Silence = NO_SILENCE
    silence_closed_at: int = -1
    unsaid: list[Effect | Change | Output] = field(default_factory=list)
    in_force: InForce | None = None

    @property
    def behind(self) -> bool:
        """Whether it is still being rebuilt: committing it now would move its offset back."""
        return self.next_offset < self.committed

    @property
    def begins_at(self) -> tuple[int, bool]:
        """Offset that what changes now is in force from, and whether silence has closed the windows there."""
        offset = max(self.next_offset, self.committed) if self.upto is None else self.upto
        return offset, self.silence_closed_at == offset

    def steps(self, replay_from: int) -> tuple[tuple[int, int], ...]:
        """Steps of the marks that rebuilding what was silenced since `replay_from` needs."""
        return self.silence.timeline.since(moment_of(replay_from, after_silence=False))

    def changes(self, replay_from: int) -> tuple[tuple[int, int, str], ...]:
        """The same of configurations."""
        if self.in_force is None:
            return ()
        return tuple(step.saved for step in self.in_force.since_replay(moment_of(replay_from, after_silence=False)))

    def heed(self, partition: Partition, upto: int) -> None:
        """Have the marks before `upto` in force from here on, unless its steps fill a commit's metadata already."""
        timeline = self.silence.timeline
        if timeline.last >= upto:
            return
        kept = self.steps(self.replay_from)
        if len(kept) >= MOST_STEPS:
            return
        effect = Effect(partition.topic, partition.topic_id, partition.partition, *self.begins_at, upto)
        timeline.steps[:] = [*kept, effect.step]
        self.unsaid.append(effect)

    @classmethod
    def resumed(
        cls,
        position: Position,
        readable_from: int,
        rules: WindowRules,
        reading: Reading,
        silence: Silence,
        in_force: InForce | None,
    ) -> Self:
        """A partition as it is at a position, before its open windows are rebuilt."""
        told = position.metadata
        replay_from = max(told.replay_from, readable_from)
        partial = position.next_offset if replay_from > told.replay_from else -1
        windows = PartitionWindows(rules, told.event_time, told.arrival)
        moving = MovingThresholds.from_saved(told.moved)
        state = cls(windows, reading, replay_from, position.next_offset, partial, moving, silence, in_force=in_force)
        if replay_from == position.next_offset:
            # Nothing is open there: silence may have closed it, and then what it closed is committed.
            state.silence_closed_at = position.next_offset
        return state

    def position(self, config: str) -> Position:
        """What to commit now; `config` is in force where nothing says which."""
        next_offset = self.next_offset if self.upto is None else min(self.next_offset, self.upto)
        point = self.windows.replay_point(next_offset)
        moved = self.moving.saved(point.offset) if self.reading.detector.moves else None
        steps, changes = self.steps(point.offset), self.changes(point.offset)
        told = Metadata(
            WITH_BUNDLES if changes else WITH_MARKS if steps else VERSION,
            *point[:2],
            self.reading.bundle,
            config if self.in_force is None else self.in_force.last.digest[:16],
            point.arrival_ms,
            moved,
            steps or msgspec.UNSET,
            changes or msgspec.UNSET,
        )
        return Position(next_offset, told)

    def adopt(self, partition: Partition, setting: Setting) -> None:
        """Have a configuration in force from here on, where another one is; its bundle takes a swap.

        That one was in force at all is recorded first: a swap is never the first step.
        """
        if self.in_force is None or self.in_force.ahead:
            return
        if setting.bundle[:16] != self.reading.bundle:
            if self.in_force.steps:
                return
            setting = self.in_force.first
        if (change := self.in_force.change_to(setting, (partition, *self.begins_at), self.replay_from)) is not None:
            self.unsaid.append(change)

    @property
    def replay_from(self) -> int:
        """Where reading again rebuilds the open windows."""
        return self.windows.replay_point(self.next_offset).offset

    @property
    def upto(self) -> int | None:
        """Where a replay comes to the next swap; what lies behind is read again."""
        return self.in_force.ahead[0].moment // 2 if self.in_force is not None and self.in_force.ahead else None

    @property
    def waits_for_silence(self) -> bool:
        """Whether the next swap of a replay came after silence had closed the windows there."""
        return self.in_force is not None and bool(self.in_force.ahead) and bool(self.in_force.ahead[0].moment % 2)

    def swap(self, partition: Partition, wanted: Setting | None, position: Position) -> None:
        """Have the other bundle in force from here on; a replay has the record of it already."""
        if self.in_force is None:
            return
        if self.in_force.ahead:
            self.in_force.go_on()
        elif wanted is not None:
            place = (partition, *self.begins_at)
            if (change := self.in_force.change_to(wanted, place, position.metadata.replay_from)) is not None:
                self.unsaid.append(change)

    def swaps(self, wanted: Setting | None) -> bool:
        """Whether another bundle is to judge from here on: the wanted one's or, in a replay, the next that did."""
        if self.in_force is None or self.behind:
            return False
        if self.upto is not None:
            return self.next_offset >= self.upto
        if wanted is None or wanted.bundle[:16] == self.reading.bundle or not self.in_force.steps:
            return False
        self.in_force.forget(self.replay_from)
        return not self.in_force.is_full

    def say(self, partition: Partition) -> list[Output]:
        """What is to be recorded now of where marks and settings took effect: nothing while it is rebuilt.

        So is what a bundle closed that judges no more: it belongs to the commit that holds to the swap.
        """
        if self.behind:
            return []
        told, self.unsaid = self.unsaid, []
        return [each if isinstance(each, Output) else _record(each, partition) for each in told]


def _record(told: Effect | Change, partition: Partition) -> Output:
    kind = Kind.CHANGE if isinstance(told, Change) else Kind.EFFECT
    return Output(kind, partition, told.offset, str(partition).encode(), msgspec.json.encode(told))
