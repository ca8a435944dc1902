"""What longwatch makes of its parts: the cheap evidence and the network, combined by calibrated p-values."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.method import PartScores
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.combine import Combination

Lines = tuple[tuple[str, ...], ...]
SEQUENCE, CONTENT = ("unseen event", "unseen 2-gram", "Witten-Bell"), ("KNN", "count vector")
RECIPES: Mapping[str, Lines] = {
    "longwatch cheap": (SEQUENCE, CONTENT),
    "longwatch": ((*SEQUENCE, "network"), CONTENT),
}


def combinations(parts: Mapping[str, PartScores]) -> dict[str, PartScores]:
    """Each recipe whose parts are all there."""
    return {
        name: _combined([[parts[part] for part in line] for line in lines])
        for name, lines in RECIPES.items()
        if all(part in parts for line in lines for part in line)
    }


def _combined(lines: list[list[PartScores]]) -> PartScores:
    normal, test, later = (
        [np.stack([getattr(part, role).final for part in line], axis=1) for line in lines]
        for role in ("normal", "test", "later")
    )
    combination = Combination.fit(normal)
    parts = [part for line in lines for part in line]
    seconds = round(sum(part.seconds for part in parts), 2)
    if len({part.later_days for part in parts}) > 1:  # not all were judged forward in time
        later, days = normal, min(part.normal_days for part in parts)
    else:
        days = parts[0].later_days
    scored: list[NDArray[np.float64]] = [combination(columns) for columns in (normal, test, later)]
    found = [UnitScores(column) for column in scored]
    return PartScores(found[0], found[1], found[2], parts[0].normal_days, days, seconds)
