"""What is silent, and from which record on: a pure function of marks, of where they took effect, and of the alert.

A *moment* is a place between the outputs of a partition: 2 x offset lies before all that the record at that offset
causes and before what silence closed there, 2 x offset + 1 between the two.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import msgspec

from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.records import Partition

MOST_STEPS = 100
"""So many steps fit into a commit's metadata with room to spare; further marks wait until the oldest are not needed."""


def moment_of(offset: int, *, after_silence: bool) -> int:
    """The moment of an output of that trigger; what silence closed comes before what the record itself causes."""
    return 2 * offset + after_silence


@dataclass(frozen=True)
class Carrier:
    """One kind of event that carries an alert: what it is recognised by, and its template for people and rules."""

    digest: str
    template: str


@dataclass(frozen=True)
class Subject:
    """An alert message as marks and rules see it: the names its entity goes by, the event time of its last event."""

    rule: str
    kind: str
    entities: tuple[str, ...]
    carriers: Sequence[Carrier]
    time_ms: int

    @property
    def pattern(self) -> list[str]:
        """What carries the alert, in one order."""
        return sorted({carrier.digest for carrier in self.carriers})


@dataclass(frozen=True)
class Standing:
    """A rule of the configuration; times are event time, in milliseconds."""

    name: str
    templates: Sequence[str]
    entities: Sequence[str]
    rule: str | None = None
    kind: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def silences(self, subject: Subject) -> bool:
        """Whether the alert message falls under it."""
        return (
            self.rule in (None, subject.rule)
            and self.kind in (None, subject.kind)
            and (self.since_ms is None or subject.time_ms >= self.since_ms)
            and (self.until_ms is None or subject.time_ms < self.until_ms)
            and any(fnmatchcase(name, glob) for name in subject.entities for glob in self.entities)
            and all(any(fnmatchcase(each.template, glob) for glob in self.templates) for each in subject.carriers)
        )


class Effect(msgspec.Struct, frozen=True):
    """Written in the transaction that first holds to it: from here on, marks before `upto` of the log are in force."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    after_silence: bool
    upto: int

    @property
    def step(self) -> tuple[int, int]:
        """The moment, and how much of the log is in force from it on."""
        return moment_of(self.offset, after_silence=self.after_silence), self.upto


class Timeline:
    """Of one partition: from which moment on how much of the log of marks is in force."""

    def __init__(self, steps: Iterable[tuple[int, int]] = ()) -> None:
        self.steps = list(steps)

    def add(self, effect: Effect) -> None:
        """Take what was recorded; of two at one moment the later counts, and the order they are read in does not."""
        self.steps = sorted({*self.steps, effect.step})

    def upto(self, moment: int) -> int:
        """How much of the log is in force at a moment."""
        found = bisect_right(self.steps, moment, key=lambda step: step[0])
        return self.steps[found - 1][1] if found else 0

    @property
    def last(self) -> int:
        """How much is in force now."""
        return self.steps[-1][1] if self.steps else 0

    def since(self, moment: int) -> tuple[tuple[int, int], ...]:
        """The steps that are needed from a moment on."""
        first = max(0, bisect_right(self.steps, moment, key=lambda step: step[0]) - 1)
        return tuple(self.steps[first:])


@dataclass(frozen=True)
class Silence:
    """What silences the alerts of one partition."""

    rules: Sequence[Standing] = ()
    book: MarkBook = field(default_factory=MarkBook)
    timeline: Timeline = field(default_factory=Timeline)

    @property
    def is_possible(self) -> bool:
        """Whether anything could be silenced."""
        return bool(self.rules or self.timeline.steps)

    def by(self, subject: Subject, moment: int) -> str | None:
        """What silences a message, None for nothing: rules of the configuration first, then the oldest mark."""
        for rule in self.rules:
            if rule.silences(subject):
                return f"rule {rule.name}"
        upto = self.timeline.upto(moment)
        if not upto:
            return None
        pattern = frozenset(subject.pattern)
        for mark in self.book.in_force(upto):
            if mark.silences(subject.rule, subject.kind, subject.entities, pattern, subject.time_ms):
                return f"mark {mark.mark_id}"
        return None


@dataclass(frozen=True)
class Silencer:
    """What silences alerts of any partition; `recorded` are timelines of the past, for a replay."""

    rules: Sequence[Standing] = ()
    book: MarkBook = field(default_factory=MarkBook)
    recorded: dict[Partition, Timeline] = field(default_factory=dict)

    def of(self, partition: Partition, steps: Sequence[tuple[int, int]]) -> Silence:
        """For a partition that goes on with the steps of its last commit."""
        timeline = self.recorded.get(partition) or Timeline(steps)
        return Silence(self.rules, self.book, timeline)
