"""`longwatch optimize bundle --out ...`: every way to deploy a network, measured, and the best one written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from longwatch.pipeline.commands.export import golden_windows
from longwatch.pipeline.commands.pareto import chart, table
from longwatch.pipeline.console import ProgressReport, write_line
from longwatch.pipeline.errors import BundleUnusableError, InputError, UsageError

BUNDLE, TABLE, CHART, LINES = "bundle", "pareto.md", "pareto.svg", "points.jsonl"


def optimize(bundle: Path, golden: Path | None, out: Path, max_changed: float) -> int:
    """Measures all points on the configuration's windows; writes points, table, chart and the chosen bundle."""
    from longwatch.model.deploy.package import write_judged
    from longwatch.model.deploy.parity import Limits
    from longwatch.model.deploy.search import Material, choose, sweep
    from longwatch.model.export import ExportError
    from longwatch.model.scorer import open_bundle

    if out.exists():
        raise UsageError(f"{out} is there already", "choose another folder with --out")
    opened = open_bundle(bundle)
    tokens, source = golden_windows(opened, golden)
    try:
        material = Material.of(tokens)
    except ValueError as error:
        raise InputError(f"{source}: {error}", "name a source with records of more normal days") from error
    with ProgressReport("measuring", unit="points") as progress:
        candidates = {each.point: each.parts for each in sweep(opened, material, on_built=progress.reach)}
    points = list(candidates)
    chosen = choose(points, max_changed)
    out.mkdir(parents=True)
    (out / LINES).write_text("".join(f"{json.dumps(point.report())}\n" for point in points))
    (out / TABLE).write_text(table(points, chosen))
    (out / CHART).write_text(chart(points, chosen))
    limits = Limits(changed=max(max_changed, 1e-4), rank_correlation=0.99)
    try:
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        write_judged(out / BUNDLE, candidates[chosen], material.judge, created_at, limits, source)
    except ExportError as error:
        raise BundleUnusableError(str(error)) from error
    base = points[0].events_a_second
    write_line(
        f"{out / BUNDLE}: {chosen.name}: {chosen.events_a_second:,.0f} events a second, "
        f"{chosen.events_a_second / base:.2f} times as many, {chosen.changed_share:.4%} of decisions changed; "
        f"{len(points)} points in {out / TABLE} and {CHART}"
    )
    return 0
