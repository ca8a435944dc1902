"""Windows of lengths that no export saw, against torch in float32 on the CPU: the whole graph, and the step graph."""

import argparse
from collections.abc import Iterator

import numpy as np

from longwatch.model.bundle import STEP_GRAPH, Bundle, open_bundle
from longwatch.model.scorer.onnx import OnnxScorer
from longwatch.model.scorer.onnx_step import StepSession
from longwatch.model.scorer.streaming import CHUNK, score_long
from longwatch.model.scorer.torch import TorchScorer
from ops.benchmarks.window_memory import one_window

LENGTHS = (1, 17, 512, 4095, 65_536)


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    yield from differences(open_bundle(arguments.folder / "bundle"), arguments.threads, arguments.device)


def differences(bundle: Bundle, threads: int, device: str) -> Iterator[dict[str, object]]:
    """The largest difference of a score, for each length and graph."""
    reference = TorchScorer(bundle, threads)
    whole = OnnxScorer(bundle, threads, device)
    step = StepSession(bundle.read(STEP_GRAPH), bundle.model_config, 1, CHUNK, 1, device)
    for length in LENGTHS:
        tokens = one_window(bundle, length)
        expected = reference.score(tokens)
        yield {
            "window": length,
            "largest_difference": float(np.abs(whole.score(tokens) - expected).max()),
            "largest_difference_step": float(np.abs(score_long(step, tokens, bundle.vocabulary) - expected).max()),
        }
