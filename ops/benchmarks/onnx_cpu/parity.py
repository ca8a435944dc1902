"""A month of the demo's log through both backends: scores of a million events, and every alert message."""

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np

from longwatch.model.bundle import open_bundle
from longwatch.model.deploy.package import deployable_parts, write_bundle
from longwatch.pipeline.assembly import open_model
from longwatch.pipeline.backtest import Replay
from longwatch.pipeline.commands.backtest import replay_history
from longwatch.pipeline.config import load_config
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY, generate
from ops.benchmarks.onnx_cuda.lengths import differences

DEMO = Path(__file__).resolve().parents[3] / "pipeline" / "demo"


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trained = open_bundle(DEMO / "bundle")
        bundle = write_bundle(folder / "bundle", deployable_parts(trained), "2026-01-01T00:00:00Z")
        yield from differences(bundle, arguments.threads, arguments.device)
        write_log(folder / "demo.log", arguments.days)
        (folder / "demo.yaml").write_text(dated_config(arguments.days))
        runs = {backend: run(folder, backend) for backend in ("torch", "onnx")}
        yield compared(runs)


def write_log(path: Path, days: float) -> None:
    with path.open("w") as file:
        for hour in generate(7, DEMO_FIRST_DAY, days, incidents=True, deploy=True):
            file.writelines(f"{line}\n" for line in hour["line"])


def dated_config(days: float) -> str:
    """The demo's configuration for a log whose last day may be yet to come.

    Lines arrive on the day `written`; at the clock's present those ahead of it would be put aside, and how many those
    are changes while one run follows the other.
    """
    written = DEMO_FIRST_DAY + timedelta(days=math.ceil(days))
    paths = "paths: [demo.log]"
    text = (DEMO / "demo.yaml").read_text()
    assert text.count(paths) == 1
    return text.replace(paths, f"{paths}\n    written: {written}")


def run(folder: Path, backend: str) -> tuple[Replay, float]:
    config = load_config(folder / "demo.yaml", {"scorer.backend": backend, "bundle": str(folder / "bundle")})
    started = time.perf_counter()
    done = replay_history(config, open_model(config), [], None, None, folder / backend)
    assert done.progress.dead_letters == done.progress.late == 0, done.progress
    return done, time.perf_counter() - started


def compared(runs: dict[str, tuple[Replay, float]]) -> dict[str, object]:
    keys = ["entity", "first_offset", "offset", "template_id"]
    frames = [replay.scores.select(*keys, "surprise").collect() for replay, _ in runs.values()]
    assert frames[0].select(keys).equals(frames[1].select(keys)), "the two runs scored other events"
    reference, found = (frame["surprise"].to_numpy() for frame in frames)
    messages = [{(a.alert_id, a.revision, a.lifecycle) for a in replay.alerts} for replay, _ in runs.values()]
    return {
        "scores": len(found),
        "lines": [replay.progress.records for replay, _ in runs.values()],
        "largest_difference": float(np.abs(reference - found).max()),
        "alert_messages": len(messages[0]),
        "alert_messages_that_differ": len(messages[0] ^ messages[1]),
        "alert_ids_that_differ": len({m[0] for m in messages[0]} ^ {m[0] for m in messages[1]}),
        "events_a_second": {name: round(len(found) / seconds) for name, (_, seconds) in runs.items()},
    }
