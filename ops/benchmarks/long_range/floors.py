"""What needs no network: rarity, pairs never seen, an n-gram model, counts of 100 lines; and the rules themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from long_range.catalogue import WOVEN, Catalogue
from longwatch.model.bench.witten_bell import WittenBell
from longwatch.model.tokens import WindowTokens

Day = NDArray[np.int64]
Scoring = Callable[[Day], NDArray[np.float64]]
LINES, NEIGHBOURS = 100, 5
SURE = 20.0  # nats, of a broken rule
ORDERS = (2, 6, 12)


def floors(days: list[Day], catalogue: Catalogue) -> dict[str, Scoring]:
    """Each floor by name, having learned from these normal days."""
    found = {"rarity": rarity(days, catalogue), "unseen pair": unseen_pair(days)}
    model = WittenBell.fit(tokens(days), max(ORDERS))
    found |= {f"Witten-Bell {order}": _witten_bell(model, order) for order in ORDERS}
    return {**found, f"counts of {LINES}": counts(days, catalogue), "the rules": Rules(catalogue).broken}


def rarity(days: list[Day], catalogue: Catalogue) -> Scoring:
    """How rare an event's class is, nats."""
    seen = np.bincount(np.concatenate(days), minlength=len(catalogue.texts) + 1) + 1.0
    surprise = -np.log(seen / seen.sum())
    return lambda day: surprise[day]


def unseen_pair(days: list[Day]) -> Scoring:
    """1 where an event and the one before it never came in this order."""
    known = np.unique(np.concatenate([_pairs(day) for day in days]))
    return lambda day: (~np.isin(_pairs(day), known)).astype(np.float64)


def _pairs(day: Day) -> Day:
    return np.concatenate([[0], day[:-1]]) * (1 << 32) + day


def tokens(days: list[Day]) -> WindowTokens:
    """Days as the product's windows, class for template."""
    lengths = [len(day) for day in days]
    gaps = np.ones(sum(lengths), np.int64)
    gaps[np.cumsum([0, *lengths[:-1]])] = -1
    bounds = np.cumsum([0, *lengths]).astype(np.int32)
    ids = np.concatenate(days).astype(np.uint64)
    return WindowTokens(ids, gaps, np.zeros(len(ids), np.int32), bounds, np.zeros(len(days), np.int32))


def _witten_bell(model: WittenBell, order: int) -> Scoring:
    return lambda day: model.surprise(tokens([day]), order)[:, -1]


def counts(days: list[Day], catalogue: Catalogue) -> Scoring:
    """Distance of the last LINES events' log counts by kind, as directions, to those of the nearest normal ones.

    Looked at every half window; an event gets the first score that has seen it.
    """
    from sklearn.neighbors import NearestNeighbors

    features = np.concatenate([_features(day, catalogue) for day in days])
    index = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute", n_jobs=1).fit(features)

    def score(day: Day) -> NDArray[np.float64]:
        far = index.kneighbors(_features(day, catalogue))[0].mean(axis=1)
        return np.repeat(far, LINES // 2)[: len(day)]

    return score


def _features(day: Day, catalogue: Catalogue) -> NDArray[np.float32]:
    kinds, step = catalogue.kinds[day], LINES // 2
    blocks = -(-len(day) // step)
    cells = (np.arange(len(day)) // step) * (int(catalogue.kinds.max()) + 1) + kinds
    half = np.bincount(cells, minlength=blocks * (int(catalogue.kinds.max()) + 1)).reshape(blocks, -1)
    both = np.log1p(half + np.concatenate([half[:1] * 0, half[:-1]]))
    return (both / np.linalg.norm(both, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Rules:
    """The procedures, checked by whoever knows them and remembers the whole day: that the evidence is enough."""

    catalogue: Catalogue

    def broken(self, day: Day) -> NDArray[np.float64]:
        """SURE where an answer is not what the day before it says, else 0."""
        found = np.zeros(len(day))
        first = np.array([self.catalogue.first[kind] for kind in WOVEN])
        seen: dict[str, set[int]] = {"revoked": set(), "approved": set()}
        follows: dict[tuple[str, int], int] = {}
        before = ("", 0)
        for row in np.flatnonzero(day >= first[0]).tolist():
            kind = int(np.searchsorted(first, day[row], side="right")) - 1
            event = (list(WOVEN)[kind], int(day[row] - first[kind]))
            found[row] = SURE * _wrong(before, event, seen, follows)
            _note(before, event, seen, follows)
            before = event
        return found


def _wrong(before: tuple[str, int], event: tuple[str, int], seen: dict[str, set[int]], follows: dict) -> bool:  # type: ignore[type-arg]
    kind, number = event
    if kind in ("accepted", "refused"):
        return (kind == "refused") != (number in seen["revoked"])
    if kind in ("deployed", "held"):
        return (kind == "deployed") != (number in seen["approved"])
    if before[0] in ("ran", "connects") and kind in ("ran", "signs_in"):
        return bool(follows.get(before, number) != number)
    return False


def _note(before: tuple[str, int], event: tuple[str, int], seen: dict[str, set[int]], follows: dict) -> None:  # type: ignore[type-arg]
    kind, number = event
    if kind in seen:
        seen[kind].add(number)
    if before[0] == "planned" and kind == "planned":
        follows["ran", before[1]] = number
    if before[0] == "connects" and kind == "signs_in":
        follows.setdefault(before, number)
