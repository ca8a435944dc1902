"""From surprises to alarms: levels by kind and one threshold from normal days, then incidents against their twins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from long_range.catalogue import STEPS
from long_range.episodes import DAY, FAMILIES
from long_range.weave import Stream
from longwatch.model.tail import Normals, Tail

Scores = NDArray[np.float64]
Scoring = Callable[[NDArray[np.int64]], Scores]
RESOLUTION, LEAST_SCALE = 1e-3, 0.25
BEYOND = 2.5  # decades past the sample
BUDGETS = (1.0, 10.0)  # false alarms a day; `recall` is at the first, `recall_more` at the others
REDRAWS = 1000


@dataclass(frozen=True)
class Exam:
    """Streams for each purpose: `levels` and `threshold` are normal; `harmed` days and their untouched twins."""

    levels: list[Stream]
    threshold: list[Stream]
    harmed: list[Stream]
    twins: list[Stream]
    kinds: NDArray[np.int64]  # of each class


@dataclass(frozen=True)
class Levels:
    """An event's surprise as -log10 of how often normal events of its kind are as surprising."""

    tails: dict[int, Tail]
    kinds: NDArray[np.int64]

    @classmethod
    def fit(cls, scores: Sequence[Scores], streams: Sequence[Stream], kinds: NDArray[np.int64]) -> "Levels":
        """One tail for each kind that the normal streams hold; -1 stands for those they lack."""
        kind = np.concatenate([kinds[stream.events] for stream in streams])
        values = np.concatenate(scores)
        order = np.argsort(kind, kind="stable")
        names, firsts = np.unique(kind[order], return_index=True)
        parts = np.split(values[order], firsts[1:])
        tails = {int(name): tail_of(part) for name, part in zip(names, parts, strict=True)}
        return cls({**tails, -1: tail_of(values)}, kinds)

    def of(self, scores: Scores, stream: Stream) -> Scores:
        """Level of each event of a stream."""
        kind = self.kinds[stream.events]
        order = np.argsort(kind, kind="stable")
        names, firsts = np.unique(kind[order], return_index=True)
        found = np.empty(len(scores))
        for name, rows in zip(names.tolist(), np.split(order, firsts[1:]), strict=True):
            found[rows] = self.tails.get(name, self.tails[-1])(scores[rows])
        return found


def tail_of(values: Scores) -> Tail:
    """How often normal events of a kind are so high; n of them speak of nothing rarer than one in 300 n."""
    tail = Tail.fit(values, RESOLUTION, LEAST_SCALE)
    return replace(tail, ceiling=float(np.log10(len(values) + 1)) + BEYOND)


def judge(score: Scoring, exam: Exam) -> dict[str, Any]:
    """Recall, twin AUROC and real alarms of what scores each event of a day; the thresholds see no incident."""
    levels = Levels.fit([score(each.events) for each in exam.levels], exam.levels, exam.kinds)
    normal = [levels.of(score(each.events), each) for each in exam.threshold]
    normals = Normals.fit(np.concatenate(normal), len(exam.threshold))
    thresholds = {budget: normals.threshold(budget / DAY) for budget in BUDGETS}
    pairs, good, elsewhere = [], [], []
    for day, (harmed, twin) in enumerate(zip(exam.harmed, exam.twins, strict=True)):
        raw = [score(harmed.events), score(twin.events)]
        bad = levels.of(raw[0], harmed)
        good.append(levels.of(raw[1], twin))
        # What follows a wrong answer at once is part of the incident: the rest of a runbook is out of order too.
        planted = harmed.row[harmed.planted >= 0, None] + np.arange(STEPS)
        elsewhere.append(np.delete(bad, np.unique(planted)))
        pairs += _incidents(harmed, day, bad, raw)
    return {
        "thresholds": {str(budget): round(value, 3) for budget, value in thresholds.items()},
        "alarms_a_day": {"untouched": _rates(good, thresholds), "harmed_elsewhere": _rates(elsewhere, thresholds)},
        "highest_normal": [round(float(each), 2) for each in normals.scores[:60:3]],
        "alarming_kinds": _alarming(normal, exam, thresholds[BUDGETS[0]]),
        "nll": _answer_nll(score, exam.threshold),
        **_cells(pairs, thresholds),
    }


def _rates(levels: list[Scores], thresholds: dict[float, float]) -> dict[str, float]:
    """Alarms a day at each budget's threshold."""
    every = np.concatenate(levels)
    return {str(budget): round(float((every >= at).sum()) / len(levels), 3) for budget, at in thresholds.items()}


def _alarming(normal: list[Scores], exam: Exam, threshold: float) -> dict[str, int]:
    """Which kinds the normal alarms are of, by number, most first."""
    kinds = [exam.kinds[each.events[level >= threshold]] for level, each in zip(normal, exam.threshold, strict=True)]
    names, counts = np.unique(np.concatenate(kinds), return_counts=True)
    return {str(names[i]): int(counts[i]) for i in np.argsort(-counts, kind="stable")[:8]}


def _incidents(harmed: Stream, day: int, level: Scores, raw: Sequence[Scores]) -> list[dict[str, Any]]:
    """Each incident's highest level, and its largest surprise here and in the twin."""
    found = []
    for number in np.unique(harmed.planted[harmed.planted >= 0]).tolist():
        mine = harmed.planted == number
        rows, family, distance = harmed.row[mine], harmed.family[mine][0], harmed.distance[mine][0]
        surprise = [float(each[rows].max()) for each in raw]
        cell = (FAMILIES[family], int(distance))
        found.append({"day": day, "cell": cell, "level": float(level[rows].max()), "surprise": surprise})
    return found


def _answer_nll(score: Scoring, streams: Sequence[Stream]) -> dict[str, float]:
    """Mean surprise of normal answers, nats, by family."""
    values = np.concatenate([score(each.events)[each.row] for each in streams])
    family = np.concatenate([each.family for each in streams])
    return {name: round(float(values[family == i].mean()), 4) for i, name in enumerate(FAMILIES)}


def _cells(pairs: list[dict[str, Any]], thresholds: dict[float, float]) -> dict[str, Any]:
    """Recall and twin AUROC by family and distance, and by distance over all families with 95 % intervals by day."""
    cells: dict[str, Any] = {}
    for distance in sorted({each["cell"][1] for each in pairs}):
        near = [each for each in pairs if each["cell"][1] == distance]
        families = {name: [each for each in near if each["cell"][0] == name] for name in FAMILIES}
        by_family = {name: _figures(some, thresholds) for name, some in families.items() if some}
        interval = _interval(near, thresholds[BUDGETS[0]])
        cells[str(distance)] = {**_figures(near, thresholds), "recall_95": interval, "families": by_family}
    return {"distances": cells}


def _figures(some: list[dict[str, Any]], thresholds: dict[float, float]) -> dict[str, Any]:
    bad, good = np.array([each["surprise"] for each in some]).T
    level = np.array([each["level"] for each in some])
    recall, *further = (round(float((level >= at).mean()), 3) for at in thresholds.values())
    lowest = [round(float(each), 2) for each in np.quantile(level, (0, 0.05, 0.5))]
    return {
        "incidents": len(some),
        "levels": lowest,
        "recall": recall,
        "recall_more": further,
        "auroc": round(auroc(bad, good), 3),
    }


def auroc(bad: Scores, good: Scores) -> float:
    """Share of (incident, twin) pairs in which the incident scores higher, ties half."""
    higher = (bad[:, None] > good).mean() + 0.5 * (bad[:, None] == good).mean()
    return float(higher)


def _interval(some: list[dict[str, Any]], threshold: float) -> list[float]:
    """Percentile bootstrap of the recall, days redrawn."""
    days = sorted({each["day"] for each in some})
    caught = np.array([sum(each["level"] >= threshold for each in some if each["day"] == day) for day in days])
    total = np.array([sum(each["day"] == day for each in some) for day in days])
    drawn = np.random.default_rng(0).integers(0, len(days), (REDRAWS, len(days)))
    shares = caught[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    return [round(float(each), 3) for each in np.quantile(shares, (0.025, 0.975))]
