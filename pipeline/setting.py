"""Thresholds and silence rules that change while a worker runs: what is in force at which moment of a partition.

A *change* is recorded with the first commit that holds to it, so that outputs stay a function of records and changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from longwatch.pipeline.errors import StateError
from longwatch.pipeline.feedback.silence import Standing, moment_of
from longwatch.pipeline.records import Partition

if TYPE_CHECKING:
    from longwatch.pipeline.detector import Rule

MOST_CHANGES = 16
"""So many fit into a commit's metadata beside the marks; a further change waits until the oldest is not needed."""

Saved = tuple[int, int, str]


@dataclass(frozen=True)
class Setting:
    """What may change: `digest` is the whole configuration's; `thresholds` and `silence` are as a change records them.

    Without `standing` the rules of the partition's own silence hold.
    """

    digest: str
    rules: tuple[Rule, ...]
    standing: tuple[Standing, ...] | None = None
    thresholds: dict[str, Any] = field(default_factory=dict)
    silence: list[dict[str, Any]] = field(default_factory=list)


class Change(msgspec.Struct, frozen=True):
    """Written in the transaction that first holds to it: from here on a configuration is in force in a partition."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    after_silence: bool
    number: int
    config: str
    thresholds: dict[str, Any]
    silence: list[dict[str, Any]]

    @property
    def moment(self) -> int:
        """From when on."""
        return moment_of(self.offset, after_silence=self.after_silence)


class Step(NamedTuple):
    """From this moment on; of two at one moment the later number counts."""

    moment: int
    number: int
    setting: Setting

    @property
    def saved(self) -> Saved:
        """As a commit carries it."""
        return self.moment, self.number, self.setting.digest[:16]


class InForce:
    """Of one partition: which setting holds at which moment; `first` where nothing was recorded."""

    def __init__(self, first: Setting, steps: Iterable[Step] = ()) -> None:
        self.first = first
        self.steps = sorted(steps, key=lambda step: step[:2])

    def at(self, moment: int) -> Setting:
        """The setting of an output of that moment."""
        found = bisect_right(self.steps, moment, key=lambda step: step.moment)
        return self.steps[found - 1].setting if found else self.first

    @property
    def last(self) -> Setting:
        """The one that holds now."""
        return self.steps[-1].setting if self.steps else self.first

    @property
    def may_silence(self) -> bool:
        """Whether rules could silence anything, now or before."""
        return any(step.setting.standing for step in self.steps) or bool(self.first.standing)

    def since(self, moment: int) -> list[Step]:
        """The steps that are needed from a moment on."""
        found = bisect_right(self.steps, moment, key=lambda step: step.moment)
        return self.steps[max(0, found - 1) :]

    def change_to(self, setting: Setting, place: tuple[Partition, int, bool], replay_from: int) -> Change | None:
        """Have a setting hold from (partition, offset, after silence) on; None where it does, or has to wait."""
        partition, offset, after_silence = place
        if self.steps and self.last.digest == setting.digest:
            return None
        kept = self.since(moment_of(replay_from, after_silence=False))
        if len(kept) >= MOST_CHANGES:
            return None
        number = self.steps[-1].number + 1 if self.steps else 1
        self.steps[:] = [*kept, Step(moment_of(offset, after_silence=after_silence), number, setting)]
        names = (partition.topic, partition.topic_id, partition.partition)
        return Change(*names, offset, after_silence, number, setting.digest, setting.thresholds, setting.silence)


class Settings:
    """All settings that are known, by digest, and of partitions that are replayed what was recorded."""

    def __init__(self, first: Setting, make: Callable[[Change], Setting], recorded: Sequence[Change] = ()) -> None:
        self.first = first
        self._make = make
        self._known = {first.digest[:16]: first}
        self._recorded: dict[Partition, list[Step]] = {}
        self.learn(recorded)
        for change in recorded:
            partition = Partition(change.topic, change.topic_id, change.partition)
            step = Step(change.moment, change.number, self._known[change.config[:16]])
            self._recorded.setdefault(partition, []).append(step)

    def learn(self, changes: Iterable[Change]) -> None:
        """Take settings that were recorded."""
        for change in changes:
            if change.config[:16] not in self._known:
                self._known[change.config[:16]] = self._make(change)

    def lacks(self, saved: Iterable[Saved]) -> bool:
        """Whether a commit names a setting that is not known."""
        return any(digest not in self._known for _, _, digest in saved)

    def of(self, partition: Partition, saved: Sequence[Saved]) -> InForce:
        """For a partition that goes on with the steps of its last commit; StateError where one is not known."""
        if (recorded := self._recorded.get(partition)) is not None:
            return InForce(self.first, recorded)
        if self.lacks(saved):
            missing = next(digest for _, _, digest in saved if digest not in self._known)
            raise StateError(
                f"{partition}: committed under configuration {missing}, which `reload.topic` does not tell of",
                "name the topic that the worker recorded its configurations in, with retention.ms=-1",
            )
        return InForce(self.first, [Step(moment, number, self._known[digest]) for moment, number, digest in saved])
