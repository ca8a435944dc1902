"""Alarms a day on the demo generator's normal days, thresholds fixed and following the stream: do they keep the budget?

`python ops/benchmarks/budget.py --days 30 --seed 11 --budget 2`; with `--deploy-after N` web hosts run a new release
from day N on. The engine of the worker, the demo's bundle; one JSON line each.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import polars as pl
from scipy.stats import binom

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import build_engine, open_model
from longwatch.pipeline.config import load_config
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY, generate
from longwatch.pipeline.records import RECORD_SCHEMA, Partition, RecordBatch

HOME = Path(__file__).resolve().parents[2] / "pipeline" / "demo"
LOGS = Partition("logs", "budget", 0)
BUSIEST = 20


def hours(days: int, seed: int, deploy_after: int | None) -> Iterator[pl.DataFrame]:
    """The normal days, hour by hour; a release is told to the generator as the first day of the rest."""
    until = days if deploy_after is None else min(deploy_after, days)
    yield from generate(seed, DEMO_FIRST_DAY, until)
    if until < days:
        yield from generate(seed, DEMO_FIRST_DAY + timedelta(days=until), days - until, deploy=True)


def replay(options: argparse.Namespace, follow: bool) -> dict[str, object]:
    """What a worker would have raised."""
    settings = {
        "bundle": str(HOME / "bundle"),
        "thresholds.default.window.false_alarms_per_day": str(options.budget),
        "thresholds.follow": str(follow).lower(),
    }
    config = load_config(HOME / "demo.yaml", settings)
    model = open_model(config)
    engine = build_engine(config, model, keep_scores=True)
    engine.assign(LOGS, None, 0)
    windows, alarms, by_day = Counter[str](), Counter[str](), Counter[str]()
    offset, seen = 0, set[tuple[str, int]]()
    for hour in hours(options.days, options.seed, options.deploy_after):
        columns = {
            "offset": range(offset, offset + len(hour)),
            "timestamp_ms": hour["event_time_ms"],
            "key": [None] * len(hour),
            "value": [line.encode() for line in hour["line"]],
        }
        offset += len(hour)
        result = engine.process([RecordBatch(LOGS, pl.DataFrame(columns, schema=RECORD_SCHEMA), offset)])
        for frame in result.score_frames:
            for entity, first in frame.select("entity", "first_offset").unique().iter_rows():
                seen.add((entity, first))
        for output in result.outputs:
            alert = msgspec.json.decode(output.value, type=Alert)
            if alert.kind == "window" and alert.lifecycle == "open":
                alarms[alert.entity] += 1
                by_day[alert.window.end_time[:10]] += 1
    windows.update(entity for entity, _ in seen)
    return judged(options, follow, windows, alarms, by_day)


def judged(
    options: argparse.Namespace, follow: bool, windows: Counter[str], alarms: Counter[str], by_day: Counter[str]
) -> dict[str, object]:
    """Alarms beside the 95 % interval of as many windows; the entities' is corrected for how many they are."""
    total, wanted = sum(windows.values()), options.budget * options.days
    share = wanted / total
    outside = {}
    for entity, count in windows.most_common(BUSIEST):
        low, high = binom.interval(1 - 0.05 / BUSIEST, count, share)
        if not low <= alarms[entity] <= high:
            outside[entity] = [alarms[entity], count, int(low), int(high)]
    low, high = binom.interval(0.95, total, share)
    return {
        "follow": follow,
        **{name: getattr(options, name) for name in ("days", "seed", "budget", "deploy_after")},
        "windows": total,
        "alarms": sum(alarms.values()),
        "expected": [int(low), wanted, int(high)],
        "holds": bool(low <= sum(alarms.values()) <= high),
        "entities": len(windows),
        "outside": outside,
        "by_day": [by_day[day] for day in sorted(by_day)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--budget", type=float, default=2)
    parser.add_argument("--deploy-after", type=int)
    options = parser.parse_args()
    for follow in (False, True):
        print(json.dumps(replay(options, follow)), flush=True)


if __name__ == "__main__":
    main()
