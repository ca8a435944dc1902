"""The points of `optimize` on labelled sets: chosen on normal windows alone, then judged once the labels open.

The network is the one of `longwatch bench` (model/bench/effort.py), a set's first case, seed 0.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from longwatch.model.bench.case import Case
from longwatch.model.bench.effort import Effort
from longwatch.model.bench.method import PartScores
from longwatch.model.bench.run import DAY_BUDGETS, TRACE_BUDGETS
from longwatch.model.bench.surprise import surprise_scores
from longwatch.model.bench.threshold import Frozen, UnitScores
from longwatch.model.bench.units import Past, Units
from longwatch.model.bundle import Bundle, BundleParts, write_bundle
from longwatch.model.calibrate import Calibration
from longwatch.model.deploy.search import Candidate, Material, choose, front, sweep
from longwatch.model.evaluate import average_precision
from longwatch.model.evidence import Evidence
from longwatch.model.export import export_onnx
from longwatch.model.fit import surprise_of
from longwatch.model.scorer.onnx import OnnxScorer
from longwatch.model.train import train
from longwatch.pipeline.bench.registry import cases_of, open_set
from longwatch.pipeline.commands.pareto import chart

CREATED = "2026-01-01T00:00:00Z"
MOST_EVENTS = 200_000  # of the judged units: beyond that every second, third, ... unit
MAX_CHANGED = 0.001


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    for name in arguments.sets.split(","):
        described, folder = open_set(name, arguments.data)
        case = cases_of(described, folder)[0]
        past = case.past(0)
        with tempfile.TemporaryDirectory() as scratch:
            bundle = trained(past, Effort(steps=arguments.steps, device="cpu"), Path(scratch) / "trained")
            material = Material(*(part.windows.tokens for part in (past.fit, past.tune, past.calibration)))
            candidates = sweep(bundle, material)
        yield from judged(name, case, past, bundle, candidates)
        if arguments.out is not None:
            points = [each.point for each in candidates]
            drawing = chart(points, choose(points, MAX_CHANGED))
            arguments.out.with_name(f"{arguments.out.stem}-{name}.svg").write_text(drawing)


def trained(past: Past, effort: Effort, path: Path) -> Bundle:
    fit, tune, held_out = (part.windows.tokens for part in (past.fit, past.tune, past.calibration))
    found = train(effort.model, effort.training(0), fit, tune, fit.templates)
    evidence = Evidence.fit(fit)
    calibration = Calibration.fit(surprise_of(found, held_out), evidence.signs(held_out), held_out, days=1.0)
    config = {"model": found.config.to_dict(), "train": found.train_config.to_dict()}
    graph = export_onnx(found)
    parts = BundleParts(found.weights, graph, "{}\n", found.vocabulary, evidence, calibration, config, {"made": "here"})
    return write_bundle(path, parts, CREATED)


def judged(
    name: str, case: Case, past: Past, bundle: Bundle, candidates: list[Candidate]
) -> Iterator[dict[str, object]]:
    """Every candidate's scores are frozen before the labels open; the lines say what each lost."""
    index = sampled(case.test)
    frozen = [frozen_scores(each, case.test.select(index), past, bundle) for each in candidates]
    truth = case.truth.open([one for both in frozen for one in both])
    bad = truth.anomalous[index]
    precision = [[average_precision(one.scores.final, bad, truth.normal_weight) for one in both] for both in frozen]
    points = [each.point for each in candidates]
    best, chosen = front(points), choose(points, MAX_CHANGED)
    for point, (network, worker) in zip(points, precision, strict=True):
        yield {
            "set": name,
            "case": case.name,
            "judged_units": len(index),
            "of_units": len(case.test),
            **point.report(),
            "times_as_fast": round(point.events_a_second / points[0].events_a_second, 3),
            "average_precision": {"network": round(network, 4), "worker": round(worker, 4)},
            "loss": {"network": round(precision[0][0] - network, 4), "worker": round(precision[0][1] - worker, 4)},
            "front": point in best,
            "chosen": point == chosen,
        }


def frozen_scores(candidate: Candidate, test: Units, past: Past, bundle: Bundle) -> list[Frozen]:
    """By the network alone, and by the worker's window score under the bundle's own calibration."""
    with tempfile.TemporaryDirectory() as scratch:
        scorer = OnnxScorer(write_bundle(Path(scratch) / "bundle", candidate.parts, CREATED))
    found = {name: [] for name in ("network", "worker")}
    for units in (past.calibration, test):
        surprise = scorer.score(units.windows.tokens)
        found["network"].append(surprise_scores(surprise, units))
        signs = bundle.evidence.signs(units.windows.tokens)
        found["worker"].append(UnitScores(bundle.calibration.final_scores(surprise, signs, units.windows.tokens)))
    budgets = DAY_BUDGETS if test.timed else TRACE_BUDGETS
    days = past.calibration_days
    parts = {name: PartScores(normal, judged, normal, days, days, 0.0) for name, (normal, judged) in found.items()}
    return [scores.freeze(name, budgets, 0) for name, scores in parts.items()]


def sampled(test: Units) -> np.ndarray:
    """Numbers of the units that are judged: all, or every n-th."""
    step = -(-len(test.windows.tokens.template_id) // MOST_EVENTS)
    return np.arange(0, len(test), step)
