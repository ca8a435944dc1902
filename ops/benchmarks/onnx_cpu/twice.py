"""`optimize` twice on each set: is the chosen point on the front, and the same again?"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from longwatch.model.bench.effort import Effort
from longwatch.model.bundle import Bundle
from longwatch.model.deploy.search import Material, choose, front, sweep
from longwatch.model.scorer import open_bundle
from longwatch.pipeline.bench.registry import cases_of, open_set
from longwatch.pipeline.commands.windows_of import read_tokens
from longwatch.pipeline.demo.generator import generate
from ops.benchmarks.onnx_cpu.labelled import MAX_CHANGED, trained

DEMO = Path(__file__).resolve().parents[3] / "pipeline" / "demo"
AFTER_TRAINING, DAYS, SEED = date(2026, 11, 9), 2.0, 7


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    for name in arguments.sets.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            bundle, material = demo(Path(scratch)) if name == "demo" else labelled(name, arguments, Path(scratch))
            for run in (1, 2):
                yield {"set": name, "run": run, **one(bundle, material)}


def demo(scratch: Path) -> tuple[Bundle, Material]:
    """The shipped bundle and two days of the generator that it was not trained on."""
    shutil.copy(DEMO / "demo.yaml", scratch)
    with (scratch / "demo.log").open("w") as file:
        for hour in generate(SEED, AFTER_TRAINING, DAYS):
            file.writelines(f"{line}\n" for line in hour["line"])
    bundle = open_bundle(DEMO / "bundle")
    return bundle, Material.of(read_tokens(scratch / "demo.yaml", bundle))


def labelled(name: str, arguments: argparse.Namespace, scratch: Path) -> tuple[Bundle, Material]:
    described, folder = open_set(name, arguments.data)
    past = cases_of(described, folder)[0].past(0)
    bundle = trained(past, Effort(steps=arguments.steps, device="cpu"), scratch / "trained")
    return bundle, Material(*(part.windows.tokens for part in (past.fit, past.tune, past.calibration)))


def one(bundle: Bundle, material: Material) -> dict[str, object]:
    points = [each.point for each in sweep(bundle, material)]
    best, chosen = front(points), choose(points, MAX_CHANGED)
    return {
        "points": len(points),
        "front": len(best),
        "chosen": chosen.report(),
        "chosen_on_front": chosen in best,
        "times_as_fast": round(chosen.events_a_second / points[0].events_a_second, 3),
        "judged_events": material.judge.num_scores,
    }
