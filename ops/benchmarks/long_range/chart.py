"""Draws detection against distance and cost from the JSON lines, and the same as a table in Markdown."""

import json
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e6c8a", "#d4a017", "#5c6b73", "#2a9d8f", "#a44a3f", "#6d597a", "#000000")


def draw(lines: Path, stream: str = "adfa") -> Path:
    """Writes an SVG beside the lines and gives its path; prints the table. SystemExit says what is missing."""
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ImportError:
        raise SystemExit("chart: needs matplotlib: uv pip install --group bench") from None
    rows = load(lines, stream)
    print(table(rows))
    # The same lines give the same bytes.
    mpl.rcParams["svg.hashsalt"] = "longwatch"
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), constrained_layout=True)
    _against_distance(axes[0], rows, "recall", "recall, one false alarm a day")
    _against_distance(axes[1], rows, "auroc", "AUROC against untouched twins")
    _cost(axes[2], rows)
    device = next((row["device"] for each in rows.values() for row in each if "device" in row), "")
    figure.suptitle(f"Planted incidents in {stream}, one false alarm a day of 65,536 events; {device}", fontsize=9)
    target = lines.with_name(f"{lines.stem}-{stream}.svg")
    figure.savefig(target, metadata={"Date": None})
    return target


def load(lines: Path, stream: str) -> dict[str, list[dict[str, Any]]]:
    """Judged rows of one real stream by contender, a row for each seed; SystemExit where there are none."""
    rows = [json.loads(line) for line in lines.read_text().splitlines() if line.strip()]
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("stream") == stream and "distances" in row:
            found.setdefault(row["contender"], []).append(row)
    if not found:
        raise SystemExit(f"chart: no judged rows of {stream} in {lines}")
    return found


def seeds(rows: list[dict[str, Any]], figure: str) -> dict[int, list[float]]:
    """A figure of each seed by distance."""
    return {int(at): [row["distances"][at][figure] for row in rows] for at in rows[0]["distances"]}


def _against_distance(axis: Any, found: dict[str, list[dict[str, Any]]], figure: str, label: str) -> None:
    for number, (name, rows) in enumerate(found.items()):
        by = seeds(rows, figure)
        mean = [float(np.mean(each)) for each in by.values()]
        style = {"linestyle": ":"} if rows[0].get("floor") else {"marker": "o", "markersize": 3}
        axis.plot(list(by), mean, label=name, color=COLOURS[number % len(COLOURS)], linewidth=1.2, **style)
        if len(rows) > 1:
            low, high = ([pick(each) for each in by.values()] for pick in (min, max))
            axis.fill_between(list(by), low, high, color=COLOURS[number % len(COLOURS)], alpha=0.15)
    axis.set(xscale="log", xlabel="events between evidence and answer", ylabel=label, ylim=(-0.02, 1.02))
    axis.grid(alpha=0.2)
    axis.legend(frameon=False, fontsize=5, ncols=2)


def _cost(axis: Any, found: dict[str, list[dict[str, Any]]]) -> None:
    """AUROC at 32,000 against the time of an event."""
    for number, (name, rows) in enumerate(found.items()):
        if "us_an_event" not in rows[0]:
            continue
        cost = float(np.median([row["us_an_event"] for row in rows]))
        figure = float(np.mean(seeds(rows, "auroc")[32000]))
        axis.plot([cost], [figure], "o", color=COLOURS[number % len(COLOURS)], markersize=4)
        axis.annotate(name, (cost, figure), fontsize=6, xytext=(3, 3), textcoords="offset points")
    axis.set(xscale="log", xlabel="microseconds an event, whole day", ylabel="AUROC at 32,000", ylim=(0.4, 1.04))
    axis.grid(alpha=0.2)


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: recall and AUROC by distance (mean of the seeds; recall's lowest and highest), alarms, cost."""
    distances = list(seeds(next(iter(found.values())), "recall"))
    head = ["", *(f"{distance:,}" for distance in distances), "alarms a day", "us an event", "MiB kept", "seeds"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, rows in found.items():
        pairs = zip(seeds(rows, "recall").values(), seeds(rows, "auroc").values(), strict=True)
        cells = [f"{_spread(recall)} / {np.mean(auroc):.3f}" for recall, auroc in pairs]
        alarms = np.mean([row["alarms_a_day"]["untouched"]["1.0"] for row in rows])
        cost = f"{np.median([row['us_an_event'] for row in rows]):.3f}" if "us_an_event" in rows[0] else ""
        held = f"{rows[0]['cache_bytes'] / 2**20:.2f}" if "cache_bytes" in rows[0] else ""
        lines.append("| " + " | ".join([name, *cells, f"{alarms:.2f}", cost, held, str(len(rows))]) + " |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    mean = f"{np.mean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.2f}-{max(values):.2f})"
