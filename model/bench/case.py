"""One past and what is to be judged after it; a set is one case or several, each with its own past."""

from dataclasses import dataclass

import numpy as np

from longwatch.model.bench.truth import SealedTruth
from longwatch.model.bench.units import Past, Units, split_past

KEPT = 0.8


@dataclass(frozen=True)
class Case:
    """Labels stay sealed; `cleaned` says how many units of the past were left out because a label calls them wrong.

    normal: units of the past, in order of time. test: units to be judged, in order of time.
    """

    name: str
    normal: Units
    test: Units
    truth: SealedTruth
    cleaned: int = 0

    def past(self, seed: int) -> Past:
        """All of the past for seed 0; every other seed draws four fifths of it, so that luck with the past shows."""
        kept = np.arange(len(self.normal), dtype=np.int64)
        if seed:
            size = max(4, round(KEPT * len(kept)))
            kept = np.sort(np.random.default_rng(seed).permutation(len(kept))[:size]).astype(np.int64)
        return split_past(self.normal.select(kept))
