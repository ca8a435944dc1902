"""How well scores tell anomalous windows from normal ones: figures at a fixed threshold and over all thresholds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Confusion:
    """What a threshold does: windows alerted rightly and wrongly, missed, and left alone."""

    threshold: float
    true_alarms: int
    false_alarms: int
    missed: int
    quiet: int

    @property
    def precision(self) -> float:
        """Share of alerts that are right; 1 when there is no alert."""
        return _share(self.true_alarms, self.true_alarms + self.false_alarms, 1.0)

    @property
    def recall(self) -> float:
        """Share of the anomalous windows alerted; 1 when there is none."""
        return _share(self.true_alarms, self.true_alarms + self.missed, 1.0)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when nothing is caught."""
        return _share(2 * self.true_alarms, 2 * self.true_alarms + self.false_alarms + self.missed, 0.0)

    @property
    def false_positive_rate(self) -> float:
        """Share of the normal windows alerted."""
        return _share(self.false_alarms, self.false_alarms + self.quiet, 0.0)


def confusion(scores: Scores, anomalous: Labels, threshold: float) -> Confusion:
    """Scores [B] at or above the threshold alert; anomalous bool [B]."""
    alerted = scores >= threshold
    pairs = ((alerted, anomalous), (alerted, ~anomalous), (~alerted, anomalous), (~alerted, ~anomalous))
    true_alarms, false_alarms, missed, quiet = (int(np.sum(a & b)) for a, b in pairs)
    return Confusion(threshold, true_alarms, false_alarms, missed, quiet)


def auroc(scores: Scores, anomalous: Labels) -> float:
    """Chance that an anomalous window [B] scores above a normal one, ties counting half; nan without both kinds."""
    distinct, place = np.unique(scores, return_inverse=True)
    normal = np.bincount(place[~anomalous], minlength=len(distinct))
    positive = np.bincount(place[anomalous], minlength=len(distinct))
    pairs = float(normal.sum()) * float(positive.sum())
    below = np.cumsum(normal) - normal
    return float(positive @ (below + normal / 2)) / pairs if pairs else float("nan")


def average_precision(scores: Scores, anomalous: Labels, normal_weight: float = 1.0) -> float:
    """Precision averaged over the recall gained at each distinct score, highest first; nan without an anomaly.

    normal_weight: how many normal windows each one here stands for, where the normals are a sample.
    """
    true_alarms, alarms = _alarms(scores, anomalous)[1:]
    if not anomalous.any():
        return float("nan")
    gained = np.diff(true_alarms, prepend=0)
    weighed = true_alarms + normal_weight * (alarms - true_alarms)
    return float(np.sum(gained * true_alarms / weighed) / anomalous.sum())


def recall_at(scores: Scores, anomalous: Labels, false_positive_rate: float) -> float:
    """Highest recall of a threshold that alerts at most this share of the normal windows."""
    _, true_alarms, alarms = _alarms(scores, anomalous)
    allowed = alarms - true_alarms <= false_positive_rate * float(np.sum(~anomalous))
    return _share(int(np.max(true_alarms * allowed, initial=0)), int(anomalous.sum()), 1.0)


def bootstrap_interval(
    figure: Callable[[Scores, Labels], float],
    scores: Scores,
    anomalous: Labels,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a figure when normal and anomalous windows are drawn anew, each kind as many as it has."""
    draw = np.random.default_rng(seed)
    kinds = np.flatnonzero(anomalous), np.flatnonzero(~anomalous)
    figures = []
    for _ in range(resamples):
        rows = np.concatenate([draw.choice(kind, len(kind)) for kind in kinds])
        figures.append(figure(scores[rows], anomalous[rows]))
    low, high = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def detection_delay(history: Scores, lengths: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Events read when each window's score so far first reaches the threshold, -1 if it never does, int64 [B].

    history: score so far after each event, packed [M]; lengths: events of each window, int64 [B].
    """
    starts = np.cumsum(lengths) - lengths
    hits = np.flatnonzero(history >= threshold)
    first = np.searchsorted(hits, starts)
    rows = np.append(hits, len(history))[first]
    return np.where(rows < starts + lengths, rows - starts + 1, -1).astype(np.int64)


def sweep(scores: Scores, anomalous: Labels, thresholds: Iterable[float]) -> list[Confusion]:
    """One row of a table for each threshold."""
    return [confusion(scores, anomalous, threshold) for threshold in thresholds]


def sweep_table(rows: Iterable[Confusion]) -> str:
    """The rows as a Markdown table."""
    head = "| threshold | precision | recall | F1 | false alarms | of normal windows |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| {row.threshold:.3f} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} "
        f"| {row.false_alarms} | {row.false_positive_rate:.2%} |"
        for row in rows
    )


def _alarms(scores: Scores, anomalous: Labels) -> tuple[Scores, NDArray[np.int64], NDArray[np.int64]]:
    """Distinct scores, highest first, and the true alarms and alarms of a threshold at each."""
    distinct, place = np.unique(-scores, return_inverse=True)
    positive = np.bincount(place[anomalous], minlength=len(distinct))
    return -distinct, np.cumsum(positive), np.cumsum(np.bincount(place, minlength=len(distinct)))


def _share(part: int, whole: int, otherwise: float) -> float:
    return part / whole if whole else otherwise
