"""Draws cost against length, time and memory, from the JSON lines of the case `length`."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"
STYLES = {"ours": ("longwatch", "#1b6ca8"), "flex": ("FlexAttention", "#c8553d")}


def draw(lines: Path) -> Path:
    """Writes an SVG beside the kept results and gives its path; SystemExit says what is missing."""
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ImportError:
        raise SystemExit("chart: needs matplotlib: uv pip install --group bench") from None
    rows = [row for row in map(json.loads, lines.read_text().splitlines()) if row["case"] == "length" and "kind" in row]
    if not rows:
        raise SystemExit(f"chart: no rows of the case `length` in {lines}")
    # The same lines give the same bytes.
    mpl.rcParams["svg.hashsalt"] = "longwatch"
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), constrained_layout=True)
    for axis, kind, title in zip(axes, ("forward", "both"), ("forward", "forward + backward"), strict=False):
        for name, (label, colour) in STYLES.items():
            _line(axis, _times(rows, kind, name), label, colour)
        axis.set(title=f"{title}, span 512", ylabel="ms")
    for name, (label, colour) in STYLES.items():
        _line(axes[2], _memory(rows, name), label, colour)
    axes[2].set(title="forward, beside inputs and outputs", ylabel="bytes")
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel="tokens")
        axis.set_xscale("log", base=2)
        axis.grid(which="both", alpha=0.2)
        axis.legend(frameon=False)
    about = rows[-1]
    figure.suptitle(f"{about.get('device', '')}, H=8, D=64, bf16, torch {about['versions']['torch']}", fontsize=9)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{lines.stem}-length.svg"
    figure.savefig(target, metadata={"Date": None})
    return target


def _line(axis: Any, points: list[tuple[int, float]], label: str, colour: str) -> None:
    if points:
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label, color=colour)


def _times(rows: list[dict[str, Any]], kind: str, name: str) -> list[tuple[int, float]]:
    return [
        (row["tokens"], row["contenders"][name]["ms"])
        for row in rows
        if row["kind"] == kind and "ms" in row["contenders"].get(name, {})
    ]


def _memory(rows: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    found = {}
    for row in rows:
        held = row["memory"]["forward"]["bytes"] if name == "ours" else row.get("flex_memory", {}).get("forward")
        if held:
            found[row["tokens"]] = held
    return sorted(found.items())
