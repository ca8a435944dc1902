"""Procedures that normal life keeps and incidents break, and where in a stream their events go.

Each ends in an answer that one earlier event decides, `distance` events back, and nothing else does: the deciding
events are fair coins or uniform draws, every key, change, job and source takes part once in a stream, and before the
answer stands the same question whatever the answer. So all that a reader of fewer than `distance` events can know of
the answer is how often each comes. An incident gives the other answer, which is as frequent; nothing else changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from long_range.catalogue import CHANGES, JOBS, KEYS, SOURCES, STEPS, USERS, Catalogue

FAMILIES = ("revoked", "unapproved", "skipped", "reordered", "enumeration")
DAY = 65_536  # events of a whole stream
NEAREST, FURTHEST = 8, 60_000
LEAD = (8, 64)  # events from what begins an episode to what decides it
VISITS = 4
END = 48  # free events at a stream's end


@dataclass(frozen=True)
class Wanted:
    """An incident to plant: a family and how far back its evidence is to lie."""

    family: str
    distance: int


@dataclass(frozen=True)
class Group:
    """Events that stand together from `at` on; `answers`: which of them answer, `planted`: the incident or -1."""

    at: float
    events: list[int]
    answers: tuple[int, ...] = ()
    family: str = ""
    distance: float = 0.0
    planted: int = -1


class Script:
    """Draws a stream's episodes; with `harm` the wanted incidents are broken, otherwise the same ones are kept."""

    def __init__(self, catalogue: Catalogue, length: int, rng: np.random.Generator, harm: bool) -> None:
        self.first, self.length, self.rng, self.harm = catalogue.first, length, rng, harm

    def groups(self, wanted: tuple[Wanted, ...]) -> list[Group]:
        """Every group of the stream: wanted episodes first served with names, ordinary ones with those left."""
        share = min(1.0, self.length / DAY)
        found: list[Group] = []
        for families, pool, write in (
            (("revoked",), KEYS, self._key),
            (("unapproved",), CHANGES, self._change),
            (("skipped", "reordered"), JOBS // STEPS, self._runbook),
            (("enumeration",), SOURCES, self._source),
        ):
            names = self.rng.permutation(pool).tolist()
            asked = [(number, each) for number, each in enumerate(wanted) if each.family in families]
            for number, each in asked:
                planted = write(names.pop(), each.distance * self.rng.uniform(0.95, 1.0), number, each.family)
                found += [replace(group, distance=each.distance) for group in planted]
            ordinary = min(len(names), max(1, round(pool * share)) - len(asked))
            for name in names[: max(0, ordinary)]:
                found += write(name, self._distance(), -1, families[int(self.rng.integers(len(families)))])
        return found

    def _distance(self) -> float:
        top = min(FURTHEST, self.length - LEAD[1] - END)
        return float(np.exp(self.rng.uniform(np.log(NEAREST), np.log(top))))

    def _places(self, distance: float) -> tuple[float, float, float]:
        """Where an episode begins, where it is decided and where it is answered."""
        lead = float(np.exp(self.rng.uniform(*np.log(LEAD))))
        asked = self.rng.uniform(min(distance + lead, self.length - END - 1), self.length - END)
        return max(0.0, asked - distance - lead), max(0.0, asked - distance), asked

    def _key(self, name: int, distance: float, planted: int, family: str) -> list[Group]:
        """A key revoked is refused, any other is accepted; the incident accepts a revoked one."""
        return self._coin(
            name, distance, planted, family, "issued", "revoked", "presented", "refused", "accepted", True
        )

    def _change(self, name: int, distance: float, planted: int, family: str) -> list[Group]:
        """A change approved is deployed, any other is held; the incident deploys one that nobody approved."""
        return self._coin(name, distance, planted, family, "opened", "approved", "due", "deployed", "held", False)

    def _coin(
        self, name: int, distance: float, planted: int, family: str, opens: str, decides: str, asks: str,
        then: str, otherwise: str, broken: bool,
    ) -> list[Group]:  # fmt: skip
        """What `decides` comes or not, as a coin falls, and the answer is `then` or `otherwise`.

        broken: what an incident's coin shows, for which the answer is then the other one.
        """
        begins, decided, asked = self._places(distance)
        came = bool(self.rng.random() < 0.5) if planted < 0 else broken
        wrong = planted >= 0 and self.harm
        answer = then if came != wrong else otherwise
        groups = [Group(begins, [self.first[opens] + name])]
        if came:
            groups.append(Group(decided, [self.first[decides] + name]))
        ask = [self.first[asks] + name, self.first[answer] + name]
        return [*groups, Group(asked, ask, (1,), family, distance, planted)]

    def _runbook(self, name: int, distance: float, planted: int, family: str) -> list[Group]:
        """Jobs run in the planned order; the incident skips one, or runs two in the other order."""
        _, decided, asked = self._places(distance)
        jobs = self._jobs(name)
        at = int(self.rng.integers(1, STEPS - 1))
        ran = list(jobs)
        if planted >= 0 and self.harm:
            ran = _broken(jobs, at, family)
        plan = [self.first["runbook"], *(self.first["planned"] + job for job in jobs)]
        events = [self.first["ran"] + job for job in ran]
        answers = (at,) if planted >= 0 else tuple(range(1, STEPS))
        return [Group(decided, plan), Group(asked, events, answers, family, distance, planted)]

    def _jobs(self, name: int) -> list[int]:
        if not hasattr(self, "deck"):
            self.deck = self.rng.permutation(JOBS).tolist()
        return self.deck[name * STEPS : (name + 1) * STEPS]

    def _source(self, name: int, distance: float, planted: int, family: str) -> list[Group]:
        """A source logs in the same user each time; the incident tries another at each later visit."""
        first, _, _ = self._places(min(distance, self.length - LEAD[1] - END))
        users = self.rng.permutation(USERS).tolist()
        places = [first + visit * distance for visit in range(VISITS)]
        groups = []
        for visit, at in enumerate(place for place in places if place < self.length - END or place == first):
            user = users[visit if planted >= 0 and self.harm else 0]
            events = [self.first["connects"] + name, self.first["signs_in"] + user]
            groups.append(Group(at, events, (1,) if visit else (), family, distance, planted))
        return groups


def _broken(jobs: list[int], at: int, family: str) -> list[int]:
    """The jobs with the one at `at` left out, or changed with the next."""
    if family == "skipped":
        return jobs[:at] + jobs[at + 1 :]
    return [*jobs[:at], jobs[at + 1], jobs[at], *jobs[at + 2 :]]


def wanted(distances: tuple[int, ...], each: int) -> tuple[Wanted, ...]:
    """`each` incidents of every family at every distance."""

    def pairs() -> Iterator[Wanted]:
        for distance in distances:
            for family in FAMILIES:
                yield from (Wanted(family, distance) for _ in range(each))

    return tuple(pairs())
