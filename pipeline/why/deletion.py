"""What an alert's score would have been without some of its events: asked of the scorer, not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwatch.model.scorer import WindowTokens
from longwatch.pipeline.assembly import Model
from longwatch.pipeline.why.case import Case

NUM_CAUSES = 5
NEAREST = 128
HIGHEST = 48
_SHORTLIST = 16


@dataclass(frozen=True)
class Cause:
    """An event without which the score would be lower by `drop`, when those named before it are gone as well."""

    row: int
    drop: float


@dataclass(frozen=True)
class Causes:
    """The score as it was, without the named events, and those events, each chosen as the one that lowers it most."""

    score: float
    without: float
    named: list[Cause]


def causes(case: Case, model: Model, count: int = NUM_CAUSES) -> Causes:
    """Events on which the alert's score hangs, found by deleting them; the one that stands out is never deleted.

    Looked at are the nearest 128 events before it, and for a window's score the highest 48 of the window.
    """
    score = float(scores_without(case, model, [()])[0])
    pool = candidates(case)
    removed: list[int] = []
    named: list[Cause] = []
    lowest = score
    while pool and len(named) < count:
        scores = scores_without(case, model, [(*removed, row) for row in pool])
        order = np.lexsort((_distance(case, pool), np.round(scores, 6)))
        best = pool[int(order[0])]
        named.append(Cause(best, lowest - float(scores[order[0]])))
        lowest = float(scores[order[0]])
        removed.append(best)
        pool = [pool[int(at)] for at in order[1 : 1 + _SHORTLIST]]
    return Causes(score, lowest, named)


def candidates(case: Case) -> list[int]:
    """Rows that may be named: of an event's alert those before it, of a window's also its highest ones."""
    near = range(max(0, case.top - NEAREST), case.top)
    if case.kind == "event":
        return list(near)
    ranked = np.argsort(-case.rows["event_score"].to_numpy(), kind="stable")[:HIGHEST].tolist()
    return sorted({*near, *ranked} - {case.top})


def scores_without(case: Case, model: Model, removed: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """The alert's score without each of these sets of rows, float64 [len(removed)]."""
    tokens = variants(case, removed)
    surprise, signs = model.scorer.score(tokens), model.bundle.evidence.signs(tokens)
    if case.kind == "event":
        return model.bundle.calibration.event_score(surprise, signs.flags)
    return model.bundle.calibration.final_scores(surprise, signs, tokens)


def variants(case: Case, removed: Sequence[Sequence[int]]) -> WindowTokens:
    """The window once for each set of rows, without them; for an event's alert it ends at that event, alone scored."""
    whole = case.tokens
    length = case.top + 1 if case.kind == "event" else len(whole.template_id)
    times = np.cumsum(np.maximum(whole.gap_ms[:length], 0))
    kept = [np.delete(np.arange(length), list(rows)) for rows in removed]
    lengths = np.array([len(rows) for rows in kept], np.int32)
    context = [int(np.searchsorted(rows, case.context)) for rows in kept]
    return WindowTokens(
        np.concatenate([whole.template_id[rows] for rows in kept]),
        np.concatenate([_gaps(whole.gap_ms, times, rows) for rows in kept]),
        np.concatenate([whole.parameter_chars[rows] for rows in kept]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        lengths - 1 if case.kind == "event" else np.array(context, np.int32),
        whole.templates,
    )


def _gaps(gap_ms: NDArray[np.int64], times: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Time since the event that now stands before each; the first keeps the mark of a session's first event."""
    gaps = np.diff(times[rows], prepend=0)
    gaps[0] = gap_ms[0] if gap_ms[0] < 0 else times[rows[0]]
    return np.asarray(gaps, np.int64)


def _distance(case: Case, rows: Sequence[int]) -> NDArray[np.int64]:
    return np.abs(np.asarray(rows, np.int64) - case.top)
