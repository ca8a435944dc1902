"""Paired bootstrap: every method is judged on the same redrawn units, so that what they share cancels out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIGURES = ("auroc", "average_precision")
Figure = NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """A figure as measured and in each resample, float64 [R]; the interval is theirs."""

    value: float
    draws: Figure

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Percentile interval."""
        low, high = np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def __sub__(self, other: "Resampled") -> "Resampled":
        """The difference, resample by resample."""
        return Resampled(self.value - other.value, self.draws - other.draws)


@dataclass(frozen=True)
class Judged:
    """Scores of one case's units, and which of them are wrong."""

    scores: NDArray[np.float64]
    anomalous: NDArray[np.bool_]
    normal_weight: float


def resample(
    methods: Mapping[str, Sequence[Judged]], draws: int = 500, seed: int = 0
) -> dict[str, dict[str, Resampled]]:
    """AUROC and average precision of each method, averaged over the cases: {method: {figure: ...}}.

    methods: for each the same cases in the same order. Wrong and normal units are drawn each as many as there are.
    """
    cases = next(iter(methods.values()))
    found = {name: np.zeros((draws + 1, 2)) for name in methods}
    rng = np.random.default_rng(seed)
    for number, case in enumerate(cases):
        weights = np.concatenate([np.ones((1, len(case.anomalous))), _weights(case.anomalous, draws, rng)])
        for name, judged in methods.items():
            each = judged[number]
            found[name] += areas(each.scores, each.anomalous, weights, each.normal_weight) / len(cases)
    return {
        name: {figure: Resampled(float(table[0, at]), table[1:, at]) for at, figure in enumerate(FIGURES)}
        for name, table in found.items()
    }


def mean(parts: Sequence[Resampled]) -> Resampled:
    """The mean of figures whose resamples are the same."""
    draws = np.mean([part.draws for part in parts], axis=0)
    return Resampled(float(np.mean([part.value for part in parts])), draws)


def areas(
    scores: NDArray[np.float64], anomalous: NDArray[np.bool_], weights: NDArray[np.float64], normal_weight: float
) -> NDArray[np.float64]:
    """AUROC and average precision when unit b counts weights[r, b] times, float64 [R, 2]."""
    distinct, place = np.unique(-scores, return_inverse=True)
    found = np.empty((len(weights), 2))
    for row, weight in enumerate(weights):
        bad = np.bincount(place, weight * anomalous, len(distinct))
        normal = np.bincount(place, weight * ~anomalous, len(distinct)) * normal_weight
        caught, false = np.cumsum(bad), np.cumsum(normal)
        pairs = max(caught[-1] * false[-1], 1e-12)
        found[row, 0] = float(bad @ (false[-1] - false + normal / 2)) / pairs
        found[row, 1] = float(np.sum(bad * caught / np.maximum(caught + false, 1e-12))) / max(caught[-1], 1e-12)
    return found


def _weights(anomalous: NDArray[np.bool_], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    weights = np.zeros((draws, len(anomalous)))
    for kind in (np.flatnonzero(anomalous), np.flatnonzero(~anomalous)):
        if len(kind):
            weights[:, kind] = rng.multinomial(len(kind), np.full(len(kind), 1 / len(kind)), size=draws)
    return weights
