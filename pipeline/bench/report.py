"""A set's result for people, a table, and for machines, JSON lines."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from longwatch.model.bench.case import Case
from longwatch.model.bench.figures import Alarms
from longwatch.model.bench.floors import FLOOR_NAMES
from longwatch.model.bench.run import Result

HEADLINE = {True: 1, False: 2}  # which of the budgets the table shows: with times 3 alarms a day, without 1 %
OURS = "longwatch"


def table(name: str, cases: Sequence[Case], result: Result) -> str:
    """One row a method, averaged over seeds, at one budget that saw no label."""
    timed, labelled = cases[0].test.timed, bool(result.truths)
    budget = result.lines[0].alarms[HEADLINE[timed]].budget
    methods = list(dict.fromkeys(line.method for line in result.lines))
    lines = [_head(name, cases, result), f"  thresholds for {budget}, from normal units alone; AP and AUROC need none"]
    shown = ("", "AP [95 %]", "AUROC [95 %]", "R@1%") if labelled else ("",)
    caught = ("caught", "recall", "F1", "delay") if labelled else ()
    rate = "false/day" if timed else "false"
    rows = [(*shown, *caught, rate, "alerts/day" if timed else "alerts")]
    rows += [_row(method, result, timed, labelled) for method in methods]
    lines += _aligned(rows)
    return "\n".join([*lines, *_verdict_lines(result)])


def json_lines(name: str, cases: Sequence[Case], result: Result, about: dict[str, Any]) -> Iterator[str]:
    """Every figure: a line for each case, method and seed, one for each method over all, and the verdict."""
    for line in result.lines:
        yield _json({"kind": "run", "set": name, **asdict(line)})
    for method, figures in result.verdict.figures.items():
        intervals = {key: [each.value, *each.interval()] for key, each in figures.items()}
        yield _json({"kind": "method", "set": name, "method": method, **intervals})
    yield _json({"kind": "set", "set": name, "cases": [_case(case) for case in cases], **_verdict(result), **about})


def _head(name: str, cases: Sequence[Case], result: Result) -> str:
    units, seeds = sum(len(case.test) for case in cases), len({line.seed for line in result.lines})
    wrong = sum(int(truth.anomalous.sum()) for truth in result.truths.values())
    incidents = sum(len(truth.names) for truth in result.truths.values())
    labels = f"{wrong:,} wrong in {incidents:,} incidents" if result.truths else "no labels: alarms are counted only"
    cleaned = sum(case.cleaned for case in cases)
    past = f"{sum(len(case.normal) for case in cases):,} normal units learned from ({cleaned:,} left out by label)"
    return f"{name}: {len(cases)} case(s), {past}, {units:,} judged, {labels}; {seeds} seed(s)"


def _row(method: str, result: Result, timed: bool, labelled: bool) -> tuple[str, ...]:
    lines = [line for line in result.lines if line.method == method]
    alarms = [line.alarms[HEADLINE[timed]] for line in lines]
    seeds = len({line.seed for line in lines})
    per = "false_per_day" if timed else "false_alarms"
    read = "alerts_per_day" if timed else "alerts"
    rates = (f"{_pooled(alarms, per, timed, seeds):.1f}", f"{_pooled(alarms, read, timed, seeds):.1f}")
    if not labelled:
        return (method, *rates)
    figures = result.verdict.figures.get(method)
    areas = tuple(_interval(figures[key]) for key in ("average_precision", "auroc")) if figures else ("-", "-")
    recall = _mean([line.ranking.recall_at_1_percent for line in lines if line.ranking])
    caught = f"{sum(a.caught for a in alarms) / seeds:.1f}/{sum(a.incidents for a in alarms) // seeds}"
    delay = _mean([a.delay_seconds if timed else a.delay_events for a in alarms])
    unit = "s" if timed else " ev"
    judged = (
        f"{recall:.3f}",
        caught,
        f"{_mean([a.recall for a in alarms]):.3f}",
        f"{_mean([a.f1 for a in alarms]):.3f}",
    )
    return (method, *areas, *judged, "-" if math.isnan(delay) else f"{delay:.0f}{unit}", *rates)


def _pooled(alarms: Sequence[Alarms], field: str, timed: bool, seeds: int) -> float:
    """A rate over all cases together: each case counts by its days."""
    values = np.array([float(getattr(each, field)) for each in alarms])
    return float(values.mean()) if timed else float(values.sum()) / seeds


def _verdict_lines(result: Result) -> Iterator[str]:
    verdict = result.verdict
    if verdict.signal is None:
        return
    if not verdict.signal:
        yield "  NO SIGNAL: no method beats chance by its interval under every seed; no figure here means anything"
        return
    floors = [name for name in FLOOR_NAMES if name in verdict.figures]
    for name in [name for name in verdict.figures if name not in FLOOR_NAMES]:
        best = verdict.best(floors)
        difference = verdict.figures[name]["average_precision"] - verdict.figures[best]["average_precision"]
        low, high = difference.interval()
        yield f"  {name}: AP {difference.value:+.4f} [{low:+.4f}, {high:+.4f}] against the best floor, {best}"


def _verdict(result: Result) -> dict[str, Any]:
    verdict = result.verdict
    if not verdict.figures or verdict.signal is None:
        return {"signal": None}
    best = verdict.best([name for name in FLOOR_NAMES if name in verdict.figures])
    against = {}
    for name in verdict.figures.keys() - set(FLOOR_NAMES):
        difference = verdict.figures[name]["average_precision"] - verdict.figures[best]["average_precision"]
        against[name] = [difference.value, *difference.interval()]
    return {"signal": verdict.signal, "best_floor": best, "average_precision_against_best_floor": against}


def _case(case: Case) -> dict[str, Any]:
    sizes = {"normal_units": len(case.normal), "left_out_by_label": case.cleaned, "judged_units": len(case.test)}
    return {"case": case.name, **sizes, "judged_days": case.test.days}


def _interval(figure: Any) -> str:
    low, high = figure.interval()
    return f"{figure.value:.4f} [{low:.3f}, {high:.3f}]"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _json(values: dict[str, Any]) -> str:
    return json.dumps(_finite(values), allow_nan=False)


def _finite(value: Any) -> Any:
    """The same with None for what is not a number, which JSON cannot say, and floats rounded to six digits."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return value
