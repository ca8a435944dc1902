"""Thresholds that move with a partition's stream: what is in force belongs to offsets, so a replay finds the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

import msgspec

from longwatch.model.scorer import Pace, Recalibration

MOST_STEPS = 96  # of the newest changes; more would not fit into a commit's metadata


class Moved(msgspec.Struct, frozen=True, array_like=True):
    """Where a partition's thresholds stand, as a commit carries it.

    steps: (offset, notch in force from it on), from the oldest open window on.
    """

    shift: int
    in_force: int
    count: int
    own: dict[str, int]
    steps: list[tuple[int, int]]


@dataclass(frozen=True)
class Closing:
    """A window that closed: the record that closed it, and by how much it was above its threshold, if it was."""

    offset: int
    entity: str
    excess: float | None
    pace: Pace


@dataclass
class MovingThresholds:
    """One partition's."""

    state: Recalibration = field(default_factory=Recalibration)
    steps: list[tuple[int, int]] = field(default_factory=lambda: [(-1, 0)])

    def level_at(self, entity: str, first_offset: int) -> float:
        """Levels that a window which begins at this offset has to exceed its calibrated threshold by.

        An entity's own part is the one of now: its windows follow one another, so none has closed since.
        """
        at = bisect_right(self.steps, first_offset, key=lambda step: step[0]) - 1
        return self.state.level_from(self.steps[max(at, 0)][1], entity_key(entity))

    def closed(self, closing: Closing) -> None:
        """Learn from a window that closed; in the order of their offsets."""
        self.state = self.state.closed(entity_key(closing.entity), closing.excess, closing.pace)
        if self.state.in_force != self.steps[-1][1]:
            self.steps.append((closing.offset, self.state.in_force))

    def saved(self, replay_from: int) -> Moved:
        """What a commit must carry where windows that began before `replay_from` are closed."""
        at = bisect_right(self.steps, replay_from, key=lambda step: step[0]) - 1
        del self.steps[: max(at, len(self.steps) - MOST_STEPS, 0)]
        return Moved(self.state.shift, self.state.in_force, self.state.count, dict(self.state.own), list(self.steps))

    @classmethod
    def from_saved(cls, moved: Moved | None) -> Self:
        """Goes on where a commit left off; from the start without one."""
        if moved is None:
            return cls()
        state = Recalibration(moved.shift, moved.in_force, moved.count, moved.own)
        return cls(state, list(moved.steps))


def in_order(offsets: Sequence[tuple[int, int | None]]) -> list[tuple[int, bool]]:
    """(place, whether it closes) of windows given as (first offset, closing offset or None), as they happened.

    What a record closes comes before what it opens; a window of one record closes after it has opened.
    """
    moments = [(first, 1, first, at, False) for at, (first, _) in enumerate(offsets)]
    moments += [
        (close, 0 if first < close else 2, first, at, True)
        for at, (first, close) in enumerate(offsets)
        if close is not None
    ]
    return [(at, closes) for _, _, _, at, closes in sorted(moments)]


def entity_key(entity: str) -> str:
    """A short name of an entity, so that long ones fit into a commit."""
    return blake2b(entity.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
