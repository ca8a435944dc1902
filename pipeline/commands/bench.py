"""`longwatch bench SET...`: detector and floors on frozen protocols, from one run, no threshold saw a label."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from longwatch.pipeline.bench.registry import cases_of, open_set, shipped_sets
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import UsageError

_PACKAGES = ("longwatch", "numpy", "polars", "scikit-learn", "torch")


def bench(
    sets: list[str],
    data: Path,
    seeds: int,
    out: Path | None,
    device: str,
    steps: int,
    networks: bool,
    surprise: Path | None,
) -> int:
    """Judges each set; prints a table, and with `out` writes JSON lines and a chart for each."""
    if not sets:
        write_line("sets: " + ", ".join(shipped_sets()))
        return 0
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", "give a folder with --out")
    from longwatch.model.bench.effort import Effort
    from longwatch.model.bench.floors import all_methods
    from longwatch.model.bench.run import judge_set
    from longwatch.model.bench.surprise_files import SurpriseFiles

    files = SurpriseFiles(surprise) if surprise else None
    effort = Effort(steps=steps, device=device)
    for name in sets:
        described, folder = open_set(name, data)
        begun = time.perf_counter()
        cases = cases_of(described, folder)
        result = judge_set(
            cases, all_methods(effort, networks, files), seeds, lambda text: write_line(text, sys.stderr)
        )
        about = _about(effort, seeds, time.perf_counter() - begun)
        _write(described.name, cases, result, out, about)
    return 0


def _write(name: str, cases: Any, result: Any, out: Path | None, about: dict[str, Any]) -> None:
    from longwatch.pipeline.bench.report import json_lines, table

    write_line(table(name, cases, result) + "\n")
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{line}\n" for line in json_lines(name, cases, result, about))
    (out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    if len(result.truths) == len(cases):
        from longwatch.pipeline.bench.chart import draw

        draw(name, cases, result, out / f"{name}.svg")


def _about(effort: Any, seeds: int, seconds: float) -> dict[str, Any]:
    return {
        "seeds": seeds,
        "steps": effort.steps,
        "device": effort.device,
        "model": effort.model.to_dict(),
        "seconds": round(seconds, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in _PACKAGES},
    }
