"""One host's day as a list of events: seeded dice, the trail they leave, and the walk through a kind's procedures."""

import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from longwatch.pipeline.demo.company import Kind, Procedure

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
NOISE_CHANCE = 0.03
LAST_START_MS = DAY_MS - 5 * MINUTE_MS


def seeded(seed: int, day: int, name: str) -> np.random.Generator:
    """A generator of its own for one name on one day (`day` counts days, ordinal); equal arguments, equal numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, day, zlib.crc32(name.encode())])))


class Dice:
    """Draws made of uniform numbers and exact arithmetic only, so that every machine rolls the same."""

    def __init__(self, seed: int, day: int, name: str) -> None:
        self._random = seeded(seed, day, name).random

    def chance(self, probability: float) -> bool:
        """True with `probability`."""
        return self._random() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, choices: Sequence[str]) -> str:
        """One of `choices`, all as likely."""
        return choices[int(self._random() * len(choices))]

    def deck(self, cards: Sequence[str]) -> Iterator[str]:
        """Cards without end: all of them in a random order, shuffled again when they run out."""
        while True:
            left = list(cards)
            while left:
                yield left.pop(self.between(0, len(left) - 1))

    def weighted(self, cumulative: Sequence[float]) -> int:
        """The index of the first running total above a number drawn below the last one."""
        drawn = self._random() * cumulative[-1]
        return next(index for index, total in enumerate(cumulative) if drawn < total)


class Trail:
    """Events of one host in the order they happened: parallel lists of time (ms), template key and incident id."""

    def __init__(self, start_ms: int) -> None:
        self.clock = start_ms
        self.times: list[int] = []
        self.keys: list[str] = []
        self.incidents: list[str] = []

    def emit(self, key: str, gap_ms: int, incident: str = "") -> None:
        """Log `key` `gap_ms` after the event before it."""
        self.clock += gap_ms
        self.times.append(self.clock)
        self.keys.append(key)
        self.incidents.append(incident)

    def insert(self, other: "Trail") -> None:
        """Merge another trail of the same host by time; at equal times this one's events come first."""
        order = np.argsort(np.array(self.times + other.times, dtype=np.int64), kind="stable").tolist()
        for name in ("times", "keys", "incidents"):
            joined = getattr(self, name) + getattr(other, name)
            setattr(self, name, [joined[index] for index in order])


def walk(dice: Dice, kind: Kind, day_ms: int, weekend: bool, deployed_ms: int | None, skip: dict[str, str]) -> Trail:
    """One day of a host of this kind from `day_ms` (epoch): its procedures one after another, never overlapping.

    From `deployed_ms` on the deployed procedures replace the others. `skip` maps steps that do not run today to the
    incident which the rest of their procedure belongs to.
    """
    trail = Trail(day_ms)
    for start, chosen, scheduled in _agenda(dice, kind, weekend, day_ms, deployed_ms):
        trail.clock = max(trail.clock + kind.gap_ms[0], start)
        _perform(dice, kind, trail, chosen, () if scheduled else kind.noise, skip)
    return trail


def _agenda(
    dice: Dice, kind: Kind, weekend: bool, day_ms: int, deployed_ms: int | None
) -> list[tuple[int, Procedure, bool]]:
    agenda = [
        (day_ms + minute * MINUTE_MS + dice.between(0, 3 * MINUTE_MS), job, True) for minute, job in kind.cron.items()
    ]
    hours = list(accumulate(kind.rhythm))
    count = int(kind.starts * (kind.weekend if weekend else 1.0) * dice.between(94, 106) / 100)
    for _ in range(count):
        start = day_ms + min(dice.weighted(hours) * HOUR_MS + dice.between(0, HOUR_MS - 1), LAST_START_MS)
        after = deployed_ms is not None and start >= deployed_ms and kind.deployed
        choices = kind.deployed if after else kind.procedures
        agenda.append((start, choices[dice.weighted(list(accumulate(each.weight for each in choices)))], False))
    return sorted(agenda, key=lambda item: item[0])


def _perform(
    dice: Dice, kind: Kind, trail: Trail, chosen: Procedure, noise: tuple[str, ...], skip: dict[str, str]
) -> None:
    incident = ""
    for step in chosen.steps:
        if step.key in skip:
            incident = skip[step.key]
            continue
        if step.chance < 1.0 and not dice.chance(step.chance):
            continue
        for _ in range(dice.between(step.low, step.high)):
            trail.emit(step.key, dice.between(*kind.gap_ms), incident)
            if noise and dice.chance(NOISE_CHANCE):
                trail.emit(dice.pick(noise), dice.between(*kind.gap_ms))
