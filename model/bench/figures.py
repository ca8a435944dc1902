"""What one method's frozen scores and thresholds amount to once the labels are open."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.case import Case
from longwatch.model.bench.threshold import Frozen, Threshold, UnitScores
from longwatch.model.bench.truth import Truth
from longwatch.model.bench.units import Units
from longwatch.model.evaluate import auroc, average_precision, confusion, recall_at

EPISODE_MS = 30 * 60_000  # alarms of an entity closer than this are one alert to whoever reads them


@dataclass(frozen=True)
class Ranking:
    """Figures that need no threshold."""

    auroc: float
    average_precision: float
    recall_at_1_percent: float


@dataclass(frozen=True)
class Alarms:
    """Figures at one threshold; a day is of event time, nan where there are no times.

    false_rate: share of normal units that alarm. alerts: episodes, true and false, that somebody would read.
    delays: median over the incidents caught, from an incident's first event to its first alarm.
    """

    budget: str
    threshold: float
    caught: int
    incidents: int
    recall: float
    precision: float
    f1: float
    false_alarms: int
    false_rate: float
    false_per_day: float
    alerts: int
    alerts_per_day: float
    delay_events: float
    delay_seconds: float


def ranking(scores: NDArray[np.float64], truth: Truth) -> Ranking:
    """How the scores order wrong and normal units."""
    bad, weight = truth.anomalous, truth.normal_weight
    precision = average_precision(scores, bad, weight)
    return Ranking(auroc(scores, bad), precision, recall_at(scores, bad, 0.01))


def alarms(frozen: Frozen, threshold: Threshold, case: Case, truth: Truth) -> Alarms:
    """What the threshold would have done."""
    value, scores, test = threshold.value, frozen.scores.final, case.test
    found = confusion(scores, truth.anomalous, value)
    false = found.false_alarms * truth.normal_weight
    precision = found.true_alarms / (found.true_alarms + false) if found.true_alarms + false else 1.0
    f1 = 2 * precision * found.recall / (precision + found.recall) if precision + found.recall else 0.0
    rows = alarm_rows(frozen.scores, test, value)
    caught, events, seconds = delays(rows, test, truth)
    alerts = episodes(np.flatnonzero(scores >= value), test)
    days = test.days
    return Alarms(
        str(threshold.budget),
        value,
        caught,
        len(truth.names),
        found.recall,
        precision,
        f1,
        found.false_alarms,
        found.false_positive_rate,
        found.false_alarms / days,
        alerts,
        alerts / days,
        events,
        seconds,
    )


def alarm_rows(scores: UnitScores, units: Units, threshold: float) -> NDArray[np.int64]:
    """Packed row of the event at which each unit alarms, -1 for none, int64 [B]; its last where scores come late."""
    tokens = units.windows.tokens
    rows = np.where(scores.final >= threshold, tokens.cu_seqlens[1:].astype(np.int64) - 1, -1)
    if scores.so_far is None:
        return rows
    hits = tokens.unscored_rows()[scores.so_far >= threshold]
    first = np.append(hits, np.iinfo(np.int64).max)[np.searchsorted(hits, tokens.cu_seqlens[:-1])]
    return np.where(rows >= 0, np.minimum(rows, first), -1)


def delays(rows: NDArray[np.int64], units: Units, truth: Truth) -> tuple[int, float, float]:
    """Incidents caught, and the median of events and of seconds that passed before each was; nan without any."""
    ends = units.windows.tokens.cu_seqlens[1:].astype(np.int64)
    times, alarmed = units.event_times(), rows >= 0
    order = np.lexsort((times[truth.onset], truth.incident))
    borders = np.searchsorted(truth.incident[order], np.arange(len(truth.names) + 1))
    events, seconds = [], []
    for start, stop in pairwise(borders.tolist()):
        marks = order[start:stop]
        hits = np.flatnonzero(alarmed[truth.unit[marks]])
        if not len(hits):
            continue
        before, mark = marks[: hits[0]], marks[hits[0]]
        row, onset = int(rows[truth.unit[mark]]), int(truth.onset[mark])
        passed = int((ends[truth.unit[before]] - truth.onset[before]).sum())
        events.append(passed + max(row - onset, 0) + 1)
        seconds.append((int(times[max(row, onset)]) - int(times[truth.onset[marks[0]]])) / 1000)
    if not events:
        return 0, float("nan"), float("nan")
    return len(events), float(np.median(events)), float(np.median(seconds)) if units.timed else float("nan")


def episodes(alarmed: NDArray[np.int64], units: Units) -> int:
    """Alerts that alarmed units make: those of one entity in close succession are one."""
    if not units.timed:
        return len(alarmed)
    order = alarmed[np.lexsort((units.windows.start_ms[alarmed], units.entity[alarmed]))]
    same = np.diff(units.entity[order]) == 0
    near = units.windows.start_ms[order][1:] - units.windows.end_ms[order][:-1] <= EPISODE_MS
    return len(order) - int((same & near).sum())


def caught_against_alarms(
    scores: NDArray[np.float64], truth: Truth, false_alarms: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Incidents caught by the lowest threshold that leaves each number of false alarms: a curve, not a setting."""
    normals = np.sort(scores[~truth.anomalous])[::-1]
    best = np.full(len(truth.names), -np.inf)
    np.maximum.at(best, truth.incident, scores[truth.unit])
    caught = []
    for allowed in np.minimum(np.floor(false_alarms).astype(np.int64), len(normals)):
        above = normals[allowed] if allowed < len(normals) else -np.inf
        caught.append(int((best > above).sum()))
    return np.array(caught, dtype=np.int64)
