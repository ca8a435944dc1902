"""`longwatch optimize bundle --out ...`: every way to deploy a network, measured, and the best one written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from longwatch.pipeline.commands.export import golden_windows
from longwatch.pipeline.console import ProgressReport, write_line
from longwatch.pipeline.errors import BundleUnusableError, UsageError

if TYPE_CHECKING:
    from longwatch.model.deploy.search import Point

BUNDLE, TABLE, LINES = "bundle", "pareto.md", "points.jsonl"


def optimize(bundle: Path, golden: Path | None, out: Path, max_changed: float) -> int:
    """Measures all points on the configuration's windows; writes table, points and the chosen bundle to `out`."""
    from longwatch.model.deploy.package import write_judged
    from longwatch.model.deploy.parity import Limits
    from longwatch.model.deploy.search import choose, sweep
    from longwatch.model.export import ExportError
    from longwatch.model.scorer import open_bundle

    if out.exists():
        raise UsageError(f"{out} is there already", "choose another folder with --out")
    opened = open_bundle(bundle)
    tokens, source = golden_windows(opened, golden)
    candidates = {}
    with ProgressReport("measuring", unit="points") as progress:
        for candidate in sweep(opened, tokens):
            candidates[candidate.point] = candidate.parts
            progress.reach(len(candidates))
    points = list(candidates)
    chosen = choose(points, max_changed)
    out.mkdir(parents=True)
    (out / LINES).write_text("".join(f"{json.dumps(point.report())}\n" for point in points))
    (out / TABLE).write_text(table(points, chosen))
    limits = Limits(changed=max(max_changed, 1e-4), rank_correlation=0.99)
    try:
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        write_judged(out / BUNDLE, candidates[chosen], tokens, created_at, limits, source)
    except ExportError as error:
        raise BundleUnusableError(str(error)) from error
    base = points[0].events_a_second
    write_line(
        f"{out / BUNDLE}: {chosen.name}: {chosen.events_a_second:,.0f} events a second, "
        f"{chosen.events_a_second / base:.2f} times as many, {chosen.changed_share:.4%} of decisions changed; "
        f"{len(points)} points in {out / TABLE}"
    )
    return 0


def table(points: Sequence[Point], chosen: Point) -> str:
    """The points as Markdown, fastest first; those on the front are marked."""
    from longwatch.model.deploy.search import front

    best = set(front(list(points)))
    head = "| | pattern | pruning | precision | events/s | decisions changed | rank correlation | graph KiB |\n"
    rows = [_row(point, chosen, best) for point in sorted(points, key=lambda point: -point.events_a_second)]
    return head + "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _row(point: Point, chosen: Point, best: set[Point]) -> str:
    mark = "**chosen**" if point == chosen else "front" if point in best else ""
    pattern = point.pattern.replace("|", "and")  # a bar would be the table's
    return (
        f"| {mark} | {pattern} | {point.pruning} | {point.precision} | {point.events_a_second:,.0f} "
        f"| {point.changed_share:.4%} | {point.rank_correlation:.5f} | {point.graph_bytes // 1024:,} |"
    )
