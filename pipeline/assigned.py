"""One assigned partition: its windows, where it stands, and which marks and configurations are in force in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from longwatch.pipeline.alert_builder import NO_SILENCE
from longwatch.pipeline.feedback.silence import MOST_STEPS, Effect, Silence, moment_of
from longwatch.pipeline.moving import MovingThresholds
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Change, InForce, Setting
from longwatch.pipeline.windows import PartitionWindows


@dataclass
class Assigned:
    """Outputs of records below `committed` were made by an earlier life of the worker."""

    windows: PartitionWindows
    next_offset: int
    committed: int
    partial_below: int = -1
    moving: MovingThresholds = field(default_factory=MovingThresholds)
    silence: Silence = NO_SILENCE
    silence_closed_at: int = -1
    unsaid: list[Effect | Change] = field(default_factory=list)
    in_force: InForce | None = None

    @property
    def behind(self) -> bool:
        """Whether it is still being rebuilt: committing it now would move its offset back."""
        return self.next_offset < self.committed

    @property
    def begins_at(self) -> tuple[int, bool]:
        """Offset that what changes now is in force from, and whether silence has closed the windows there."""
        offset = max(self.next_offset, self.committed)
        return offset, self.silence_closed_at == offset

    def steps(self, replay_from: int) -> tuple[tuple[int, int], ...]:
        """Steps of the marks that rebuilding what was silenced since `replay_from` needs."""
        return self.silence.timeline.since(moment_of(replay_from, after_silence=False))

    def changes(self, replay_from: int) -> tuple[tuple[int, int, str], ...]:
        """The same of configurations."""
        if self.in_force is None:
            return ()
        return tuple(step.saved for step in self.in_force.since(moment_of(replay_from, after_silence=False)))

    def heed(self, partition: Partition, upto: int) -> None:
        """Have the marks before `upto` in force from here on, unless its steps fill a commit's metadata already."""
        timeline = self.silence.timeline
        if timeline.last >= upto:
            return
        kept = self.steps(self.windows.replay_point(self.next_offset).offset)
        if len(kept) >= MOST_STEPS:
            return
        effect = Effect(partition.topic, partition.topic_id, partition.partition, *self.begins_at, upto)
        timeline.steps[:] = [*kept, effect.step]
        self.unsaid.append(effect)

    def adopt(self, partition: Partition, setting: Setting) -> None:
        """Have a configuration in force from here on, where another one is."""
        if self.in_force is None:
            return
        replay_from = self.windows.replay_point(self.next_offset).offset
        if (change := self.in_force.change_to(setting, (partition, *self.begins_at), replay_from)) is not None:
            self.unsaid.append(change)

    def say(self, partition: Partition) -> list[Output]:
        """What is to be recorded now of where marks and configurations took effect: nothing while it is rebuilt."""
        if self.behind:
            return []
        told, self.unsaid = self.unsaid, []
        return [
            Output(_kind(each), partition, each.offset, str(partition).encode(), msgspec.json.encode(each))
            for each in told
        ]


def _kind(told: Effect | Change) -> Kind:
    return Kind.CHANGE if isinstance(told, Change) else Kind.EFFECT
