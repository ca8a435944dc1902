"""Do the named causes of an alert carry it? A line of JSON for a made-up company's day and a half, by seed.

    python ops/benchmarks/deletion.py --seeds 1 2 3

Removing the five named events against removing five random ones of the same candidates: mean fall of the score, and the
difference's 95 % interval by bootstrap over alerts. And how often the misplaced step of a settlement is among the five.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

from longwatch.model.scorer import END_TEMPLATE
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import Model, open_model
from longwatch.pipeline.backtest import Replay
from longwatch.pipeline.commands.backtest import replay_history
from longwatch.pipeline.commands.demo import write_log
from longwatch.pipeline.config import load_config
from longwatch.pipeline.demo.ordered import STAGES
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.why.case import Case, case_of
from longwatch.pipeline.why.deletion import NUM_CAUSES, candidates, causes, scores_without

ROOT = Path(__file__).resolve().parents[2]
DRAWS = 4
ORDERED_HOST = "pay-eu-01"


def falls(case: Case, model: Model, draw: np.random.Generator) -> tuple[float, float]:
    """By how much the score falls without the five named events, and without five random candidates."""
    pool = candidates(case)
    random = [draw.choice(pool, NUM_CAUSES, replace=False).tolist() for _ in range(DRAWS)]
    named = [cause.row for cause in causes(case, model).named]
    whole, without, *others = scores_without(case, model, [(), named, *random])
    return float(whole - without), float(whole - np.mean(others))


def interval(differences: Sequence[float], draw: np.random.Generator) -> tuple[float, float]:
    """95 % of the mean, by bootstrap."""
    means = [np.mean(draw.choice(differences, len(differences))) for _ in range(2000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def misled_stages(whole: Case) -> Iterator[tuple[Case, set[int]]]:
    """(case that ends at a stage, rows of the misplaced step before it, without which the order would be right).

    The demo writes a step as four lines: saved, asked, answered by the stage, and workers assigned; 16 to 30 follow.
    """
    names = [f"INFO settlement stage {stage.removeprefix('pay.')} began for run <*>" for stage in STAGES]
    at = [(row, names.index(whole.text(row))) for row in range(len(whole.rows)) if whole.text(row) in names]
    for (_, one), (wrong, two), (row, three) in zip(at, at[1:], at[2:], strict=False):
        if two != one + 1 and three == one + 1 and row >= whole.context:
            yield Case("event", whole.rows, whole.context, row, whole.texts), set(range(wrong - 2, wrong + 2))


def last_messages(replay: Replay) -> list[Alert]:
    """Each alert as it stood last."""
    return list({alert.alert_id: alert for alert in replay.alerts}.values())


def measure(seed: int, folder: Path) -> dict[str, object]:
    """The figures of one company."""
    home = Path(str(files("longwatch.pipeline.demo")))
    config = load_config(home / "demo.yaml", {"bundle": str(home / "bundle")})
    model = open_model(config)
    folder.mkdir()
    write_log(folder / "demo.log", seed, 1.5)
    replay = replay_history(config, model, [folder / "demo.log"], None, None, folder / "out")
    texts = {**TemplateColumns(model.templates).texts, END_ID: END_TEMPLATE}
    draw = np.random.default_rng(seed)
    cases = [(alert, case_of(alert, replay.scores, texts)) for alert in last_messages(replay)]
    pairs = [falls(case, model, draw) for _, case in cases if len(candidates(case)) >= NUM_CAUSES]
    planted = [
        bool({cause.row for cause in causes(stage, model).named} & step)
        for alert, case in cases
        if alert.entity == ORDERED_HOST and alert.kind == "window"
        for stage, step in misled_stages(case)
    ]
    low, high = interval([named - random for named, random in pairs], draw)
    return {
        "seed": seed,
        "alerts": len(pairs),
        "named": round(float(np.mean([named for named, _ in pairs])), 3),
        "random": round(float(np.mean([random for _, random in pairs])), 3),
        "difference_95": [round(low, 3), round(high, 3)],
        "planted": len(planted),
        "planted_in_five": round(float(np.mean(planted)), 3) if planted else None,
    }


def main() -> None:
    """Prints a line a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    for seed in parser.parse_args().seeds:
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(seed, Path(folder) / "day")
        took = {"cpu_s": round(time.process_time() - began, 1)}
        print(json.dumps({"benchmark": "deletion", **figures, **took, **about()}), flush=True)


def about() -> dict[str, object]:
    """The commit and the machine that a line is of."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT)
    return {
        "commit": commit.stdout.strip() or "unknown",
        "device": f"{platform.machine()} CPU, {platform.python_version()}",
        "versions": {name: version(name) for name in ("onnxruntime", "polars", "numpy")},
    }


if __name__ == "__main__":
    main()
