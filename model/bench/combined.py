"""What longwatch makes of its parts: the cheap evidence and the network, combined by calibrated p-values."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.method import PartScores
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.combine import Combination

Lines = tuple[tuple[str, ...], ...]
# As in the worker's window score: what order shows, by all events and by the oddest; what content shows.
SEQUENCE = ("unseen 2-gram", "Witten-Bell", "Witten-Bell peak")
CONTENT = ("unseen event", "KNN", "count vector")
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
    parts = [part for line in lines for part in line]
    combination = Combination.fit(_columns(lines, "normal"))
    role, days = "later", parts[0].later_days
    if len({(part.later_days, len(part.later.final)) for part in parts}) > 1:  # not all were judged forward in time
        role, days = "normal", min(part.normal_days for part in parts)
    normal, test, later = (UnitScores(combination(_columns(lines, each))) for each in ("normal", "test", role))
    seconds = round(sum(part.seconds for part in parts), 2)
    return PartScores(normal, test, later, parts[0].normal_days, days, seconds)


def _columns(lines: list[list[PartScores]], role: str) -> list[NDArray[np.float64]]:
    """Each line's scores of the same units, float64 [B, K]."""
    return [np.stack([getattr(part, role).final for part in line], axis=1) for line in lines]
