"""A month of the demo: scores, decisions, alerts and speed of each backend against torch in float32 on the CPU."""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bundle import Bundle, open_bundle
from longwatch.model.calibrate import Calibration
from longwatch.model.dataset import Windows
from longwatch.model.deploy.parity import KINDS, compare
from longwatch.model.evidence import Signs
from longwatch.model.scorer.onnx import OnnxScorer
from longwatch.model.scorer.torch import TorchScorer
from longwatch.model.tokens import WindowTokens

Scores = NDArray[np.float32]
Score = Callable[[WindowTokens], Scores]


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    bundle = open_bundle(arguments.folder / "bundle")
    tokens = Windows.load(arguments.folder / "windows.safetensors").tokens
    signs = bundle.evidence.signs(tokens)
    started = time.perf_counter()
    reference = TorchScorer(bundle, arguments.threads).score(tokens)
    seconds = time.perf_counter() - started
    about = {"events": tokens.num_scores, "windows": len(tokens.lengths)}
    yield {"backend": "torch cpu float32", **about, "events_a_second": round(tokens.num_scores / seconds)}
    expected = openings(reference, signs, tokens, bundle.calibration)
    for name, make in backends(bundle, arguments).items():
        try:
            found, seconds = timed(make(), tokens, arguments.rounds)
        except Exception as error:  # the others' figures must not be lost with it
            yield {"backend": name, "error": repr(error)[:400]}
            continue
        parity = compare(reference, found, tokens, bundle.evidence, bundle.calibration)
        opened = openings(found, signs, tokens, bundle.calibration)
        yield {
            "backend": name,
            **about,
            "largest_difference": parity.largest_difference,
            "mean_difference": float(np.abs(reference - found).mean()),
            "decisions_that_differ": parity.changed,
            "rank_correlation": parity.rank_correlation,
            "alerts": len(expected),
            "alerts_that_differ": len({a[:2] for a in opened} ^ {a[:2] for a in expected}),
            "openings_that_differ": len(opened ^ expected),
            "events_a_second": round(tokens.num_scores / seconds),
        }


def backends(bundle: Bundle, arguments: argparse.Namespace) -> dict[str, Callable[[], Score]]:
    device = arguments.device
    found: dict[str, Callable[[], Score]] = {
        f"onnxruntime {device} float32": lambda: OnnxScorer(bundle, arguments.threads, device).score
    }
    if device == "cuda":
        found |= {
            "torch cuda float32": lambda: TorchScorer(bundle, arguments.threads, device).score,
            **{f"triton {name}": partial(triton_score, bundle, name) for name in ("float16", "bfloat16", "float32")},
        }
    return found


def triton_score(bundle: Bundle, dtype: str) -> Score:
    import torch

    from longwatch.model.scorer.triton import TritonScorer

    return TritonScorer(bundle, dtype=getattr(torch, dtype)).score


def timed(score: Score, tokens: WindowTokens, rounds: int) -> tuple[Scores, float]:
    """Scores, and the fastest of some rounds after the first, seconds, from packed arrays to packed scores."""
    found, times = score(tokens), []
    for _ in range(rounds):
        started = time.perf_counter()
        found = score(tokens)
        times.append(time.perf_counter() - started)
    return found, min(times)


def openings(
    surprise: Scores, signs: Signs, tokens: WindowTokens, calibration: Calibration
) -> set[tuple[int, str, int]]:
    """Alerts at the demo's thresholds (a false alarm a day): window, kind, and the row at which each opens.

    An alert's id hangs on window and rule alone, so equal windows are equal ids.
    """
    counts = (tokens.lengths - tokens.scored).astype(np.int64)
    states = np.tile(calibration.window_state(), (len(counts), 1))
    so_far = calibration.window_scores(states, surprise, signs, counts)[1]
    window = np.repeat(np.arange(len(counts)), counts)
    found = set()
    for kind, scores in zip(KINDS, (calibration.event_score(surprise, signs.flags), so_far), strict=True):
        rows = np.flatnonzero(scores >= calibration.threshold(kind, false_alarms_per_day=1))
        opened, first = np.unique(window[rows], return_index=True)
        found |= {(int(w), kind, int(rows[at])) for w, at in zip(opened, first, strict=True)}
    return found
