"""Draws what is caught against false alarms, for every method of a set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.case import Case
from longwatch.model.bench.figures import caught_against_alarms
from longwatch.model.bench.run import Result

BOLD = ("longwatch", "longwatch worker")


def draw(name: str, cases: Sequence[Case], result: Result, path: Path) -> None:
    """Writes an SVG; the same result gives the same bytes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "longwatch"
    timed = cases[0].test.timed
    grid = np.geomspace(0.3, 100, 40) if timed else np.geomspace(0.0005, 0.5, 40)
    figure, axis = plt.subplots(figsize=(8, 5), constrained_layout=True)
    for method in dict.fromkeys(line.method for line in result.lines):
        curve = _curve(method, cases, result, grid)
        if curve is not None:
            axis.step(grid, curve, where="post", label=method, linewidth=2.5 if method in BOLD else 1.0)
    axis.set(xscale="log", ylabel="incidents caught", title=f"{name}: every threshold of each ranking, mean of seeds")
    axis.set_xlabel("false alarms a day" if timed else "share of normal units that alarm")
    axis.grid(which="both", alpha=0.2)
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _curve(method: str, cases: Sequence[Case], result: Result, grid: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Incidents of all cases caught, each case at the same rate of false alarms; None where a case lacks the method."""
    total = np.zeros(len(grid))
    for case in cases:
        truth = result.truths[case.name]
        allowed = grid * (case.test.days if case.test.timed else float((~truth.anomalous).sum()))
        found = [each.scores.final for (name, _), each in result.frozen[case.name].items() if name == method]
        if not found:
            return None
        total += np.mean([caught_against_alarms(scores, truth, allowed) for scores in found], axis=0)
    return total
