"""Pattern x pruning x precision, each measured on the user's own windows; what no other point beats is the front."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bundle import Bundle, BundleParts, write_bundle
from longwatch.model.config import ModelConfig
from longwatch.model.dataset import select_windows
from longwatch.model.deploy.package import parts_of
from longwatch.model.deploy.parity import Parity, compare
from longwatch.model.deploy.prune import Weights, drop_layer, narrow, prune_channels
from longwatch.model.deploy.quantise import quantise, sensitive_products
from longwatch.model.export import export_graph
from longwatch.model.scorer.onnx import OnnxScorer
from longwatch.model.tokens import WindowTokens
from longwatch.model.transformer import load_transformer

DIVISORS = (1, 2, 4)
PRECISIONS = ("fp32", "int8", "int8, sensitive kept")
ROUNDS = 3
FOR_SENSITIVITY = 5_000  # events

Quality = Callable[[NDArray[np.float32]], float]


@dataclass(frozen=True)
class Point:
    """One way to deploy the network, and what it was seen to do. quality: higher is better, None where not asked."""

    pattern: str
    pruning: str
    precision: str
    changed_share: float
    rank_correlation: float
    quality: float | None
    events_a_second: float
    graph_bytes: int

    @property
    def name(self) -> str:
        """Names it in tables."""
        return f"{self.pattern}; {self.pruning}; {self.precision}"

    def report(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """A point and the parts to write it with."""

    point: Point
    parts: BundleParts


def sweep(bundle: Bundle, tokens: WindowTokens, quality: Quality | None = None) -> Iterator[Candidate]:
    """Every combination, measured on these windows; the first is the bundle's own network in float32."""
    weights = {name: array.astype(np.float32) for name, array in bundle.arrays("weights.safetensors").items()}
    reference: NDArray[np.float32] | None = None
    for divisor in DIVISORS:
        for pruning, (config, pruned) in prunings(narrow(bundle.model_config, divisor), weights).items():
            parts = _parts(bundle, config, pruned)
            for precision, graph in _graphs(parts, config, tokens).items():
                candidate = replace(parts, onnx=graph)
                surprise, seconds = _run(candidate, tokens)
                reference = surprise if reference is None else reference
                parity = compare(reference, surprise, tokens, bundle.evidence, bundle.calibration)
                names = " / ".join(dict.fromkeys(config.layers)), pruning, precision
                value = None if quality is None else quality(surprise)
                yield Candidate(_point(names, parity, value, tokens.num_scores / seconds, len(graph)), candidate)


def prunings(config: ModelConfig, weights: Weights) -> dict[str, tuple[ModelConfig, Weights]]:
    """Ways to make the network smaller, none first."""
    found = {"whole": (config, weights)}
    found["half of the channels"] = prune_channels(config, weights, 0.5)
    if len(config.layers) > 1:
        found["without the last layer"] = drop_layer(config, weights, len(config.layers) - 1)
    else:
        found["a quarter of the channels"] = prune_channels(config, weights, 0.25)
    return found


def front(points: list[Point]) -> list[Point]:
    """Those that no other point is at least as good as in everything and better than in something, fastest first."""
    kept = [point for point in points if not any(_beats(other, point) for other in points)]
    return sorted(kept, key=lambda point: -point.events_a_second)


def choose(points: list[Point], max_changed: float) -> Point:
    """The fastest of the front that changes at most this share of decisions; float32 whole changes none."""
    return next(point for point in front(points) if point.changed_share <= max_changed)


def _beats(one: Point, other: Point) -> bool:
    pairs = list(zip(_goods(one), _goods(other), strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _goods(point: Point) -> tuple[float, ...]:
    quality = 0.0 if point.quality is None else point.quality
    correlation = -np.inf if np.isnan(point.rank_correlation) else point.rank_correlation
    return quality, -point.changed_share, correlation, point.events_a_second, -point.graph_bytes


def _point(names: tuple[str, str, str], parity: Parity, quality: float | None, rate: float, size: int) -> Point:
    return Point(*names, parity.changed_share, parity.rank_correlation, quality, rate, size)


def _parts(bundle: Bundle, config: ModelConfig, weights: Weights) -> BundleParts:
    model = load_transformer(config, bundle.vocabulary.known_words, weights)
    changed = {**bundle.config, "model": config.to_dict()}
    parts = replace(parts_of(bundle), weights=weights, config=changed, step_onnx=None, parity=None)
    return replace(parts, onnx=export_graph(model, config))


def _graphs(parts: BundleParts, config: ModelConfig, tokens: WindowTokens) -> dict[str, bytes]:
    enough = int(np.searchsorted(np.cumsum(tokens.lengths), FOR_SENSITIVITY)) + 1
    few = select_windows(tokens, np.arange(min(enough, len(tokens.lengths))))
    layers = len(config.layers)
    kept = sensitive_products(parts.onnx, layers, lambda graph: _run(replace(parts, onnx=graph), few, 1)[0])
    graphs = (parts.onnx, quantise(parts.onnx, layers), quantise(parts.onnx, layers, kept))
    return dict(zip(PRECISIONS, graphs, strict=True))


def _run(parts: BundleParts, tokens: WindowTokens, rounds: int = ROUNDS) -> tuple[NDArray[np.float32], float]:
    """Surprise as a worker's scorer gives it, and the fastest of some rounds, seconds."""
    with tempfile.TemporaryDirectory(prefix="longwatch-optimize-") as scratch:
        scorer = OnnxScorer(write_bundle(Path(scratch) / "bundle", parts, "2026-01-01T00:00:00Z"))
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        surprise = scorer.score(tokens)
        times.append(time.perf_counter() - started)
    return surprise, min(times)
