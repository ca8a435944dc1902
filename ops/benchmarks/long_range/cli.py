"""Arguments, the order of contenders, and the clock that ends the run with results."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from long_range import filler as fillers
from long_range.catalogue import Catalogue
from long_range.contenders import CONTENDERS, ORDER, WHOLE
from long_range.cost import cost
from long_range.episodes import wanted
from long_range.judge import Exam, Scores, Scoring, judge
from long_range.training import Effort, Material, train
from long_range.weave import many

DISTANCES = (10, 100, 1000, 8000, 32000, 60000)


def main() -> None:
    given = parse_arguments()
    if given.write:
        fillers.write(given.filler, [fillers.adfa(), fillers.demo(), fillers.hdfs()])
        return
    if given.chart:
        from long_range.chart import draw

        for stream in given.streams:
            print(draw(given.chart, stream))
        return
    if given.floors:
        run_floors(given)
    else:
        run(given)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="long_range", description=__doc__)
    parser.add_argument("--filler", type=Path, default=Path("filler.npz"), help="normal streams, made with --write")
    parser.add_argument("--write", action="store_true", help="make that file from the public data and the generator")
    parser.add_argument("--out", type=Path, help="JSON lines; stdout if left out")
    parser.add_argument("--seconds", type=float, default=450, help="end after so many, with what there is")
    parser.add_argument("--each", type=float, default=22, help="seconds of training for one contender")
    parser.add_argument("--steps", type=int, default=1500, help="steps of training, if the seconds allow")
    parser.add_argument("--tokens", type=int, default=WHOLE, help="events in a step")
    parser.add_argument("--days", type=int, default=256, help="normal days to train on")
    parser.add_argument(
        "--exam-days",
        type=int,
        default=16,
        help="days with incidents and as many without; half as many more for levels and for thresholds",
    )
    parser.add_argument("--incidents", type=int, default=2, help="of a family and distance in a day")
    parser.add_argument("--only", nargs="*", default=[], help="stream:contender:seed, in this order")
    parser.add_argument("--floors", action="store_true", help="judge what needs no network instead, on a CPU")
    parser.add_argument(
        "--streams", nargs="*", default=["adfa", "demo", "hdfs"], help="real streams to judge floors on or draw"
    )
    parser.add_argument("--set", nargs="*", default=[], help="field=JSON of every contender, such as d_model=128")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--chart", type=Path, help="draw these JSON lines instead")
    return parser.parse_args()


def run(given: argparse.Namespace) -> None:
    """Trains and judges one contender after the other until the time is up."""
    begun = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    order = [_named(text) for text in given.only] or list(ORDER)
    loaded = {stream: prepare(given, stream) for stream in dict.fromkeys(each for each, _, _ in order)}
    note(f"streams ready at {time.monotonic() - begun:.1f} s")
    for stream, name, seed in order:
        left = given.seconds - (time.monotonic() - begun)
        if left < 1.6 * given.each:
            note(f"{left:.0f} s left: not run from {stream}:{name}:{seed} on")
            break
        try:
            report(given.out, one(given, name, seed, stream, *loaded[stream], device))
        except Exception as error:
            report(given.out, {"stream": stream, "contender": name, "seed": seed, "failed": repr(error)[:500]})
            if device == "cuda":
                torch.cuda.empty_cache()
        note(f"at {time.monotonic() - begun:.1f} s")


def run_floors(given: argparse.Namespace) -> None:
    """Judges what needs no network, on each real stream."""
    from long_range.floors import floors

    for stream in given.streams:
        material, exam = prepare(given, stream)
        for name, scoring in floors(material.days[WHOLE], material.catalogue).items():
            begun = time.perf_counter()
            figures = judge(kept(scoring), exam)
            row = {"stream": stream, "contender": name, "seed": 0, "days": given.days, "floor": True}
            report(given.out, {**row, "seconds": round(time.perf_counter() - begun, 1), **figures})


def prepare(given: argparse.Namespace, name: str) -> tuple[Material, Exam]:
    """Everything that contenders on one real stream share."""
    filler = fillers.read(given.filler, name)
    catalogue = Catalogue(filler.texts)
    lengths = sorted({length for each in CONTENDERS.values() for length, _ in each.phases})
    days = {
        length: [
            each.events for each in many(filler, "fit", range(given.days * WHOLE // length), length, jobs=given.jobs)
        ]
        for length in lengths
    }
    counts = np.bincount(np.concatenate(days[WHOLE]), minlength=len(catalogue.texts) + 1)
    plant, number, half = wanted(DISTANCES, given.incidents), given.exam_days, -(-3 * given.exam_days // 2)
    exam = Exam(
        many(filler, "calibrate", range(half), WHOLE, jobs=given.jobs),
        many(filler, "calibrate", range(half, 2 * half), WHOLE, jobs=given.jobs),
        many(filler, "test", range(number), WHOLE, plant, True, given.jobs),
        many(filler, "test", range(number), WHOLE, plant, False, given.jobs),
        catalogue.kinds,
    )
    return Material(catalogue, days, counts), exam


def one(
    given: argparse.Namespace, name: str, seed: int, stream: str, material: Material, exam: Exam, device: str
) -> dict[str, Any]:
    """Trains and judges one contender."""
    contender = replace(
        CONTENDERS[name], **{key: json.loads(value) for key, value in (s.split("=", 1) for s in given.set)}
    )
    trained = train(contender, material, seed, Effort(given.steps, given.each, given.tokens, device))
    score = kept(trained.scores)
    return {
        "stream": stream, "contender": name, "seed": seed, "layers": contender.layers, "set": given.set,
        "steps": trained.steps, "seconds": round(trained.seconds, 1), "losses": trained.losses,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "torch": torch.__version__,
        **cost(trained, exam.twins[0].events), **judge(pick(score, "excess"), exam),
        "by_surprise": judge(pick(score, "surprise"), exam),
    }  # fmt: skip


def pick(score: Callable[[Any], dict[str, Scores]], name: str) -> Scoring:
    """One of the scores."""
    return lambda events: score(events)[name]


def kept(scoring: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same, each day scored once."""
    known: dict[int, Any] = {}

    def score(events: Any) -> Any:
        if id(events) not in known:
            known[id(events)] = scoring(events)
        return known[id(events)]

    return score


def _named(text: str) -> tuple[str, str, int]:
    stream, name, seed = text.split(":")
    return stream, name, int(seed)


def report(out: Path | None, row: dict[str, Any]) -> None:
    """One line at once, and what it says in short."""
    line = json.dumps({"benchmark": "long_range", **row})
    if out is None:
        print(line, flush=True)
    else:
        with out.open("a") as file:
            file.write(line + "\n")
    said = {distance: cell["recall"] for distance, cell in row.get("distances", {}).items()}
    note(f"{row['stream']} {row['contender']} seed {row['seed']}: {row.get('failed') or said}")


def note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
