"""Floors from scikit-learn on a unit's counts: distance to its nearest neighbours, and an isolation forest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.forward import BORDERS, NETWORK_BORDERS
from longwatch.model.bench.method import Judged
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.bench.units import Past, Units
from longwatch.model.evidence import count_vectors

NEIGHBOURS = 5
TREES = 200
MAX_FIT_UNITS = 20_000


@dataclass(frozen=True)
class Neighbours:
    """Mean distance to the nearest past units, in log counts scaled to length 1: what happened, not how much."""

    name: str = "KNN"
    seeded: bool = False
    borders: tuple[float, ...] = BORDERS

    def applies(self, past: Past) -> bool:
        """Where there are neighbours enough."""
        return len(past.fit) > NEIGHBOURS

    def learn(self, past: Past, seed: int) -> Judged:
        """Keeps the past's units, evenly thinned where they are too many."""
        from sklearn.neighbors import NearestNeighbors

        templates = np.unique(past.fit.windows.tokens.template_id)
        known = _features(past.fit, templates)
        kept = known[:: -(-len(known) // MAX_FIT_UNITS)]
        index = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute", n_jobs=1).fit(kept)

        def score(units: Units) -> UnitScores:
            return UnitScores(index.kneighbors(_features(units, templates))[0].mean(axis=1).astype(np.float64))

        return Judged(score(past.calibration), score)


@dataclass(frozen=True)
class IsolationForest:
    """How few random cuts set a unit's log counts apart from the past's."""

    name: str = "isolation forest"
    seeded: bool = True
    borders: tuple[float, ...] = NETWORK_BORDERS

    def applies(self, past: Past) -> bool:
        """Where there is more than one unit to cut between."""
        return len(past.fit) > 1

    def learn(self, past: Past, seed: int) -> Judged:
        """Grows the trees on the fit units."""
        from sklearn.ensemble import IsolationForest as Forest

        templates = np.unique(past.fit.windows.tokens.template_id)
        forest = Forest(n_estimators=TREES, random_state=seed, n_jobs=1).fit(_features(past.fit, templates, False))

        def score(units: Units) -> UnitScores:
            return UnitScores(-forest.score_samples(_features(units, templates, False)))

        return Judged(score(past.calibration), score)


def _features(units: Units, templates: NDArray[np.uint64], unit_length: bool = True) -> NDArray[np.float64]:
    """log(1 + count) of each known kind and of all unknown ones together, float64 [B, V + 1]."""
    counts = count_vectors(units.windows.tokens, np.arange(len(units), dtype=np.int64), templates)
    logs = np.log1p(counts.astype(np.float64))
    norms = np.linalg.norm(logs, axis=1, keepdims=True)
    return logs / np.maximum(norms, 1e-12) if unit_length else logs
