"""Thresholds, silence rules and bundles that change while a worker runs: what is in force at which moment.

A *change* is recorded with the first commit that holds to it, so that outputs stay a function of records and changes.
A bundle judges from its *swap* on, by windows that it has rebuilt as if it had always been there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from longwatch.pipeline.errors import StateError
from longwatch.pipeline.feedback.silence import Standing, moment_of
from longwatch.pipeline.records import Partition

if TYPE_CHECKING:
    from longwatch.pipeline.bundles import Bundles
    from longwatch.pipeline.detector import Rule

MOST_CHANGES = 16
"""So many fit into a commit's metadata beside the marks; a further change waits until the oldest is not needed."""

Saved = tuple[int, int, str]


@dataclass(frozen=True)
class Setting:
    """What may change: `digest` is the whole configuration's; `thresholds` and `silence` are as a change records them.

    `rules` are scores of the calibration of `bundle`. Without `standing` those of the partition's own silence hold.
    """

    digest: str
    bundle: str
    rules: tuple[Rule, ...]
    standing: tuple[Standing, ...] | None = None
    thresholds: dict[str, Any] = field(default_factory=dict)
    silence: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As a commit carries it: configuration and bundle."""
        return named(self.digest, self.bundle)


def named(config: str, bundle: str) -> str:
    """A setting's name, of its two digests."""
    return f"{config[:16]}/{bundle[:16]}"


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
    bundle: str = ""

    @property
    def moment(self) -> int:
        """From when on."""
        return moment_of(self.offset, after_silence=self.after_silence)

    def saved(self, bundle: str) -> Saved:
        """As a commit carries it; one that says no bundle was recorded when that could not change."""
        return self.moment, self.number, named(self.config, self.bundle or bundle)


class Step(NamedTuple):
    """From this moment on; of two at one moment the later number counts."""

    moment: int
    number: int
    setting: Setting

    @property
    def saved(self) -> Saved:
        """As a commit carries it."""
        return self.moment, self.number, self.setting.name


class InForce:
    """Of one partition: which setting holds at which moment; `first` where nothing was recorded.

    All that it answers is of the bundle of now, which judges from `since` on; what it rebuilds from before that, it
    rebuilds under the setting that it came with. `ahead` are swaps that a replay has still to come to.
    """

    def __init__(self, first: Setting, steps: Iterable[Step] = (), ahead: Iterable[Step] = ()) -> None:
        self.first = first
        self.steps = sorted(steps, key=lambda step: step[:2])
        self.ahead = list(ahead)
        self.since = self._since()

    @classmethod
    def recorded(cls, first: Setting, steps: Iterable[Step]) -> InForce:
        """At the beginning of a replay: under the first bundle of what was recorded."""
        found = cls(first)
        found.ahead = sorted(steps, key=lambda step: step[:2])
        found.go_on()
        return found

    def at(self, moment: int) -> Setting:
        """The setting of an output of that moment."""
        found = bisect_right(self.steps, max(moment, self.since), key=lambda step: step.moment)
        return self.steps[found - 1].setting if found else self._before

    @property
    def last(self) -> Setting:
        """The one that holds now."""
        return self.steps[-1].setting if self.steps else self.first

    @property
    def may_silence(self) -> bool:
        """Whether rules could silence anything, now or before."""
        return any(step.setting.standing for step in self.steps) or bool(self.first.standing)

    @property
    def is_full(self) -> bool:
        """Whether a commit has no room for a further step."""
        return len(self.steps) >= MOST_CHANGES

    def since_replay(self, moment: int) -> list[Step]:
        """The steps that are needed from a moment on."""
        found = bisect_right(self.steps, moment, key=lambda step: step.moment)
        return self.steps[max(0, found - 1) :]

    def forget(self, replay_from: int) -> None:
        """Let go of steps that no rebuilding needs any more: no window that they decided about is open."""
        self.steps[:] = self.since_replay(moment_of(replay_from, after_silence=False))
        self.since = self._since()

    def change_to(self, setting: Setting, place: tuple[Partition, int, bool], replay_from: int) -> Change | None:
        """Have a setting hold from (partition, offset, after silence) on; None where it does, or has to wait."""
        partition, offset, after_silence = place
        if self.steps and self.last.name == setting.name:
            return None
        self.forget(replay_from)
        if self.is_full:
            return None
        number = self.steps[-1].number + 1 if self.steps else 1
        self.steps.append(Step(moment_of(offset, after_silence=after_silence), number, setting))
        self.since = self._since()
        return Change(
            partition.topic,
            partition.topic_id,
            partition.partition,
            offset,
            after_silence,
            number,
            setting.digest,
            setting.thresholds,
            setting.silence,
            setting.bundle,
        )

    def go_on(self) -> None:
        """A replay has come to the next swap: its step, and those that followed under the same bundle."""
        bundle = self.ahead[0].setting.bundle
        count = next((at for at, each in enumerate(self.ahead) if each.setting.bundle != bundle), len(self.ahead))
        self.steps += self.ahead[:count]
        del self.ahead[:count]
        self.since = self._since()

    def begin_at(self, offset: int) -> None:
        """A replay begins there: swaps up to it are past, and nothing is open that they took over."""
        while self.ahead and self.ahead[0].moment // 2 <= offset:
            self.go_on()

    @property
    def _before(self) -> Setting:
        """What was in force before anything was recorded, by the bundle of then."""
        if not self.steps or self.first.bundle[:16] == self.steps[0].setting.bundle[:16]:
            return self.first
        return self.steps[0].setting

    def _since(self) -> int:
        """The moment from which the bundle of now judges; -1 where no other did, as far as is remembered."""
        bundles = [step.setting.bundle[:16] for step in self.steps]
        first = next((at + 1 for at in range(len(bundles) - 1, -1, -1) if bundles[at] != bundles[-1]), 0)
        return self.steps[first].moment if first else -1


class Make(Protocol):
    """Where a setting comes from; raises BundleUnusableError where its bundle cannot be had."""

    def __call__(self, change: Change | None, bundle: str, /) -> Setting:
        """The setting that was recorded so, or the configuration's own, under a bundle (16 digits of its digest)."""
        ...


class Settings:
    """All settings that are known, made when they are needed; of partitions that are replayed, what was recorded."""

    def __init__(self, first: Setting, make: Make, bundles: Bundles, recorded: Sequence[Change] = ()) -> None:
        self.first = first
        self.bundles = bundles
        self._make = make
        self._made = {first.name: first}
        self._told: dict[str, Change | None] = {first.digest[:16]: None}
        self._recorded: dict[Partition, list[Change]] = {}
        self.learn(recorded)
        for change in recorded:
            partition = Partition(change.topic, change.topic_id, change.partition)
            self._recorded.setdefault(partition, []).append(change)

    def learn(self, changes: Iterable[Change]) -> None:
        """Take settings that were recorded."""
        for change in changes:
            self._told.setdefault(change.config[:16], change)

    def lacks(self, saved: Iterable[Saved]) -> bool:
        """Whether a commit names a configuration that is not known."""
        return any(name[:16] not in self._told for _, _, name in saved)

    def of(self, partition: Partition, saved: Sequence[Saved]) -> InForce:
        """For a partition that goes on with the steps of its last commit; StateError where one is not known."""
        if (recorded := self._recorded.get(partition)) is not None:
            steps = [Step(each.moment, each.number, self._of_change(each)) for each in recorded]
            return InForce.recorded(self.first, steps)
        if self.lacks(saved):
            missing = next(name[:16] for _, _, name in saved if name[:16] not in self._told)
            raise StateError(
                f"{partition}: committed under configuration {missing}, which `reload.topic` does not tell of",
                "name the topic that the worker recorded its configurations in, with retention.ms=-1",
            )
        return self._saved(saved)

    def _saved(self, saved: Sequence[Saved]) -> InForce:
        """Of bundles before the last one no more is needed than where they ended: they need not be there."""
        last = saved[-1][2].partition("/")[2] if saved else ""
        names = [name for _, _, name in saved]
        return InForce(
            self.first,
            [
                Step(moment, number, self._setting(name) if name.endswith(last) else _gone(name))
                for (moment, number, _), name in zip(saved, names, strict=True)
            ],
        )

    def _of_change(self, change: Change) -> Setting:
        return self._setting(named(change.config, change.bundle or self.first.bundle))

    def _setting(self, name: str) -> Setting:
        if name not in self._made:
            config, _, bundle = name.partition("/")
            self._made[name] = self._make(self._told[config], bundle)
        return self._made[name]


def _gone(name: str) -> Setting:
    """A setting under a bundle that judges nothing any more."""
    config, _, bundle = name.partition("/")
    return Setting(config, bundle, ())
