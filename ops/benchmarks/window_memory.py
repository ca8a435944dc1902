"""Peak memory and time to score one long window on a CPU; prints one JSON line.

python ops/benchmarks/window_memory.py BUNDLE --events 65536 --backend onnx [--whole]
"""

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np

from longwatch.model.bundle import Bundle, open_bundle
from longwatch.model.scorer import Scorer
from longwatch.model.tokens import WindowTokens, template_id


def main() -> None:
    arguments = parse_arguments()
    bundle = open_bundle(arguments.bundle)
    scorer = open_with_budget(bundle, arguments)
    scorer.score(one_window(bundle, 64))
    before = peak_mib()
    started = time.perf_counter()
    surprise = scorer.score(one_window(bundle, arguments.events))
    result = {
        "benchmark": "window_memory",
        "backend": scorer.name,
        "events": arguments.events,
        "whole": arguments.whole,
        "seconds": round(time.perf_counter() - started, 3),
        "peak_mib": round(peak_mib()),
        "peak_mib_before": round(before),
        "mean_surprise": round(float(surprise.mean()), 4),
        "threads": arguments.threads,
        "bundle": bundle.digest[:16],
        "layers": bundle.config["model"]["layers"],
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--events", type=int, default=65_536)
    parser.add_argument("--backend", choices=("onnx", "torch"), default="onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="run the window in one piece, even where it could be cut")
    return parser.parse_args()


def open_with_budget(bundle: Bundle, arguments: argparse.Namespace) -> Scorer:
    budget = arguments.events if arguments.whole else None
    if arguments.backend == "onnx":
        from longwatch.model.scorer.onnx import OnnxScorer

        return OnnxScorer(bundle, arguments.threads, token_budget=budget)
    from longwatch.model.scorer.torch import TorchScorer

    return TorchScorer(bundle, arguments.threads, token_budget=budget)


def one_window(bundle: Bundle, events: int) -> WindowTokens:
    rng = np.random.default_rng(0)
    known = np.array([template_id(text) for text in bundle.vocabulary.templates], np.uint64)
    gaps = rng.integers(0, 60_000, events)
    gaps[0] = -1
    return WindowTokens(
        known[rng.integers(0, len(known), events)],
        gaps,
        rng.integers(0, 200, events).astype(np.int32),
        np.array([0, events], np.int32),
        np.zeros(1, np.int32),
    )


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
