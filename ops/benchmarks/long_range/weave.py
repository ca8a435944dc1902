"""Streams of a whole day: a real stream with the procedures' events put in, and where each answer stands."""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from long_range.catalogue import STEPS, Catalogue
from long_range.episodes import END, FAMILIES, Group, Script, Wanted
from long_range.filler import Filler


@dataclass(frozen=True)
class Stream:
    """Classes int64 [T], and its A answers: row, family (number in FAMILIES), distance asked for, incident or -1."""

    events: NDArray[np.int64]
    row: NDArray[np.int64]
    family: NDArray[np.int64]
    distance: NDArray[np.float64]
    planted: NDArray[np.int64]


def weave(
    filler: Filler, role: str, seed: int, length: int, wanted: tuple[Wanted, ...] = (), harm: bool = False
) -> Stream:
    """The stream of that seed: with `harm` its wanted incidents happen, without they are the same but kept.

    Equal arguments give equal streams; the two with and without harm differ in the incidents' answers alone.
    """
    rng = np.random.default_rng([seed, length, sum(role.encode())])
    catalogue = Catalogue(filler.texts)
    events = 1 + filler.draw(role, length, rng)
    groups = sorted(Script(catalogue, length, rng, harm).groups(wanted), key=lambda group: group.at)
    kept = [(group, int(at)) for group, at in zip(groups, _starts(groups), strict=True) if at + END // 4 < length]
    events = _laid(events, kept)
    return Stream(events, *_answers(kept))


def _laid(filler: NDArray[np.int64], kept: list[tuple[Group, int]]) -> NDArray[np.int64]:
    """The groups at their places and the filler's events, in order, at all others."""
    room, woven = np.zeros(len(filler), dtype=bool), np.zeros(len(filler), np.int64)
    for group, at in kept:
        room[at : at + _room(group)] = True
        woven[at : at + len(group.events)] = group.events
    # A skipped job must move nothing that comes after it, so its place gets an event that is else left over.
    spare = room & (woven == 0)
    woven[spare] = filler[len(filler) - int(spare.sum()) :]
    woven[~room] = filler[: int((~room).sum())]
    return woven


def _starts(groups: list[Group]) -> NDArray[np.int64]:
    """The place of each group: where it wants to be, or right behind the one before it."""
    room = np.array([_room(group) for group in groups])
    before = np.cumsum(room) - room
    return np.asarray(before + np.maximum.accumulate(np.array([int(group.at) for group in groups]) - before))


def _room(group: Group) -> int:
    return max(len(group.events), STEPS if group.family == "skipped" and group.answers else 0)


def _answers(kept: list[tuple[Group, int]]) -> Iterable[NDArray[np.generic]]:
    answers = [(group, at + each) for group, at in kept for each in group.answers]
    yield np.array([row for _, row in answers], np.int64)
    yield np.array([FAMILIES.index(group.family) for group, _ in answers], np.int64)
    yield np.array([group.distance for group, _ in answers], np.float64)
    yield np.array([group.planted for group, _ in answers], np.int64)


def many(
    filler: Filler, role: str, seeds: Iterable[int], length: int, wanted: tuple[Wanted, ...] = (),
    harm: bool = False, jobs: int = 1,
) -> list[Stream]:  # fmt: skip
    """A stream for each seed, on so many processes."""
    work, numbers = partial(_one, filler, role, length, wanted, harm), list(seeds)
    if jobs == 1:
        return [work(seed) for seed in numbers]
    with ProcessPoolExecutor(jobs) as pool:  # one chunk a process: the filler travels with each
        return list(pool.map(work, numbers, chunksize=-(-len(numbers) // jobs)))


def _one(filler: Filler, role: str, length: int, wanted: tuple[Wanted, ...], harm: bool, seed: int) -> Stream:
    return weave(filler, role, seed, length, wanted, harm)
