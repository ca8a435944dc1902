"""Whether a graph may stand in for the weights: scores and decisions of both on the same golden windows. NumPy only."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwatch.model.calibrate import Calibration, Kind
from longwatch.model.evidence import Evidence, Signs
from longwatch.model.tokens import WindowTokens

# Budgets of false alarms whose thresholds decide: from one that pages someone daily to one in a hundred events.
QUANTILES = (0.99, 0.999, 0.9999)
KINDS: tuple[Kind, ...] = ("event", "window")

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What a graph may differ by: share of events decided otherwise, and what of the scores' order must remain."""

    changed: float = 1e-4
    rank_correlation: float = 0.9999


@dataclass(frozen=True)
class Parity:
    """How a graph's scores compare with the reference's on the same events."""

    events: int
    windows: int
    largest_difference: float
    changed: int
    rank_correlation: float

    @property
    def changed_share(self) -> float:
        """Share of events of which at least one threshold decides otherwise."""
        return self.changed / max(self.events, 1)

    def refusal(self, limits: Limits) -> str | None:
        """Why this is not near enough; None where it is. A figure that is no number is never near enough."""
        if not self.changed_share <= limits.changed:
            return (
                f"{self.changed:,} of {self.events:,} golden events are decided otherwise, at most {limits.changed:g}"
            )
        if not self.rank_correlation >= limits.rank_correlation:
            return f"rank correlation {self.rank_correlation:.6f}, expected {limits.rank_correlation:g} or more"
        if not np.isfinite(self.largest_difference):
            return "a score is not a number"
        return None

    def report(self) -> dict[str, Any]:
        """JSON-able, as the manifest keeps it."""
        return asdict(self) | {"changed_share": self.changed_share}


def compare(
    reference: Scores, found: Scores, tokens: WindowTokens, evidence: Evidence, calibration: Calibration
) -> Parity:
    """Surprise [M] of the same windows by the reference and by what would replace it."""
    signs = evidence.signs(tokens)
    expected, got = (decisions(scores, signs, tokens, calibration) for scores in (reference, found))
    return Parity(
        len(reference),
        len(tokens.lengths),
        float(np.abs(reference - found).max(initial=0)),
        int((expected != got).any(axis=1).sum()),
        rank_correlation(reference, found),
    )


def decisions(surprise: Scores, signs: Signs, tokens: WindowTokens, calibration: Calibration) -> NDArray[np.bool_]:
    """Whether each event, and each window so far, reaches each quantile's threshold, bool [M, kinds * quantiles]."""
    counts = (tokens.lengths - tokens.scored).astype(np.int64)
    states = np.tile(calibration.window_state(), (len(counts), 1))
    scores = {
        "event": calibration.event_score(surprise, signs.flags),
        "window": calibration.window_scores(states, surprise, signs, counts)[1],
    }
    reached = [scores[kind] >= calibration.threshold(kind, quantile=q) for kind in KINDS for q in QUANTILES]
    return np.stack(reached, axis=1)


def rank_correlation(left: Scores, right: Scores) -> float:
    """Spearman's: 1 where both order the events alike, ties sharing their mean rank; nan where one has no order."""
    if not len(left) or not np.isfinite(left).all() or not np.isfinite(right).all():
        return float("nan")
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: Scores) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return ranks
