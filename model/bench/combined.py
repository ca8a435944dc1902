"""What longwatch makes of its parts: the cheap evidence and the network, combined by calibrated p-values."""

from collections.abc import Mapping

import numpy as np

from longwatch.model.bench.method import PartScores
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.combine import Combination

CHEAP = ("unseen event", "unseen 2-gram", "Witten-Bell", "KNN")
RECIPES = {"longwatch cheap": CHEAP, "longwatch": (*CHEAP, "network")}


def combinations(parts: Mapping[str, PartScores]) -> dict[str, PartScores]:
    """Each recipe whose parts are all there."""
    return {
        name: _combined([parts[part] for part in recipe])
        for name, recipe in RECIPES.items()
        if all(part in parts for part in recipe)
    }


def _combined(parts: list[PartScores]) -> PartScores:
    normal, test = (
        np.stack([scores.final for scores in column], axis=1)
        for column in ([part.normal for part in parts], [part.test for part in parts])
    )
    combination = Combination.fit(normal)
    seconds = round(sum(part.seconds for part in parts), 2)
    return PartScores(UnitScores(combination(normal)), UnitScores(combination(test)), seconds)
