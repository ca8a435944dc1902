"""From the surprise of each event to the score of a unit: the mean of a trace, the excess of a stream's window."""

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.counting import running
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.bench.units import Units

EXCESS_NATS = 3.0  # below it an event adds nothing: a quiet window of many events stays quiet


def surprise_scores(surprise: NDArray[np.floating], units: Units) -> UnitScores:
    """Surprise [M] in nats of unscored tokens, as scores; traces differ much in length, so theirs is a mean."""
    tokens = units.windows.tokens
    values = np.asarray(surprise, dtype=np.float64)
    if units.shape == "stream":
        return running(np.maximum(values - EXCESS_NATS, 0), tokens)
    counts = np.maximum(tokens.lengths - tokens.scored, 1)
    return UnitScores(running(values, tokens).final / counts)


def peak_scores(surprise: NDArray[np.floating], units: Units) -> UnitScores:
    """The most that one event of a unit surprised so far: one odd event does not drown among many ordinary ones."""
    tokens = units.windows.tokens
    cuts = np.cumsum(tokens.lengths - tokens.scored)
    parts = np.split(np.maximum(np.asarray(surprise, dtype=np.float64), 0), cuts[:-1])
    final = np.array([part.max(initial=0) for part in parts])
    return UnitScores(final, np.concatenate([np.maximum.accumulate(part) for part in parts]))
