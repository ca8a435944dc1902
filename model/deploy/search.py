"""Pattern x pruning x precision, each measured on the user's own windows; what no other point beats is the front."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bundle import WEIGHTS, Bundle, BundleParts, write_bundle
from longwatch.model.config import ModelConfig, TrainConfig
from longwatch.model.dataset import interleaved, select_windows
from longwatch.model.deploy.package import parts_of
from longwatch.model.deploy.parity import Parity, compare
from longwatch.model.deploy.prune import Weights, drop_layer, narrow, prune_channels, prune_heads
from longwatch.model.deploy.quantise import quantise, quantise_static, sensitive_products
from longwatch.model.export import export_graph
from longwatch.model.scorer.batching import ModelInputs, TokenColumns, cut, padded_width
from longwatch.model.scorer.onnx import OnnxScorer
from longwatch.model.tokens import WindowTokens
from longwatch.model.train import TrainedModel, retrain
from longwatch.model.transformer import load_transformer

DIVISORS = (1, 4)
PRECISIONS = ("fp32", "int8", "int8, sensitive kept", "static int8, sensitive kept")
ROUNDS = 15  # with 5, which points are within NEAR differed from run to run
FOR_SENSITIVITY, FOR_RANGES, FOR_TIME = 3_000, 20_000, 20_000  # events
BATCH = 8  # windows whose activations' ranges are taken at once
NEAR = 0.95  # two points that close in speed are equally fast: a second run may swap them
RECOVERY = TrainConfig(max_steps=60, tokens_per_batch=2048, learning_rate=5e-4, validation_every=20, device="cpu")


@dataclass(frozen=True)
class Material:
    """Normal windows: pruned networks recover on some, stop by others, and are judged by others still."""

    recover: WindowTokens
    stop: WindowTokens
    judge: WindowTokens

    @classmethod
    def of(cls, tokens: WindowTokens) -> Self:
        """Half of the windows to recover, a tenth to stop, the rest to judge, each spread over all; 10 at least."""
        count = len(tokens.lengths)
        if count < 10:
            raise ValueError(f"expected 10 windows or more to recover and to judge, found {count}: name more records")
        return cls(*(select_windows(tokens, part) for part in interleaved(count, 0.1, 0.4)))


@dataclass(frozen=True)
class Point:
    """One way to deploy the network, and what it was seen to do."""

    pattern: str
    pruning: str
    precision: str
    changed_share: float
    rank_correlation: float
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


@dataclass(frozen=True)
class _Built:
    """A candidate not yet timed."""

    names: tuple[str, str, str]
    parts: BundleParts
    scorer: OnnxScorer
    parity: Parity


def sweep(
    bundle: Bundle,
    material: Material,
    recovery: TrainConfig = RECOVERY,
    on_built: Callable[[int], None] | None = None,
    divisors: Sequence[int] = DIVISORS,
) -> list[Candidate]:
    """Every combination, measured on the judging windows; the first is the bundle's own network in float32.

    divisors: of the spans; 1 first.
    """
    built: list[_Built] = []
    for each in _build(bundle, material, recovery, divisors):
        built.append(each)
        if on_built is not None:
            on_built(len(built))
    few = _first_events(material.judge, FOR_TIME)
    rates = _interleaved_rates([each.scorer for each in built], few)
    return [_candidate(each, rate) for each, rate in zip(built, rates, strict=True)]


def prunings(config: ModelConfig, weights: Weights) -> dict[str, tuple[ModelConfig, Weights]]:
    """Ways to make the network smaller, none first, all of them together last."""
    found = {"whole": (config, weights), "half of the channels": prune_channels(config, weights, 0.5)}
    smallest = found["half of the channels"]
    if config.num_kv_heads > 1:
        found["half of the heads"] = prune_heads(config, weights, config.num_kv_heads // 2)
        smallest = prune_heads(*smallest, config.num_kv_heads // 2)
    if len(config.layers) > 1:
        last = len(config.layers) - 1
        found["without the last layer"] = drop_layer(config, weights, last)
        smallest = drop_layer(*smallest, last)
    else:
        found["a quarter of the channels"] = prune_channels(config, weights, 0.25)
    return found | {"all of these": smallest}


def front(points: list[Point]) -> list[Point]:
    """Those that no other point is at least as good as in everything and better than in something, fastest first."""
    kept = [point for point in points if not any(_beats(other, point) for other in points)]
    return sorted(kept, key=lambda point: -point.events_a_second)


def choose(points: list[Point], max_changed: float) -> Point:
    """The fastest of the front that changes at most this share of decisions; float32 whole changes none.

    Of those about as fast, the one that changes least: which is the fastest by a hair differs from run to run.
    """
    fit = [point for point in front(points) if point.changed_share <= max_changed]
    fast = [point for point in fit if point.events_a_second >= NEAR * fit[0].events_a_second]
    return min(fast, key=lambda point: (point.changed_share, -point.rank_correlation, point.name))


def _beats(one: Point, other: Point) -> bool:
    pairs = list(zip(_goods(one), _goods(other), strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _goods(point: Point) -> tuple[float, ...]:
    correlation = -np.inf if np.isnan(point.rank_correlation) else point.rank_correlation
    return -point.changed_share, correlation, point.events_a_second, -point.graph_bytes


def _build(bundle: Bundle, material: Material, recovery: TrainConfig, divisors: Sequence[int]) -> Iterator[_Built]:
    weights = {name: array.astype(np.float32) for name, array in bundle.arrays(WEIGHTS).items()}
    reference: NDArray[np.float32] | None = None
    kept: list[int] | None = None
    for divisor in divisors:
        for pruning, (config, pruned) in prunings(narrow(bundle.model_config, divisor), weights).items():
            if pruning != "whole":
                pruned = _recovered(bundle, config, pruned, material, recovery)
            parts = _parts(bundle, config, pruned)
            kept = _sensitive(parts, config, material.judge) if kept is None else kept
            for precision, graph in _graphs(parts, config, kept, material).items():
                candidate = replace(parts, onnx=graph)
                scorer = _scorer(candidate)
                surprise = scorer.score(material.judge)
                reference = surprise if reference is None else reference
                parity = compare(reference, surprise, material.judge, bundle.evidence, bundle.calibration)
                yield _Built((" / ".join(dict.fromkeys(config.layers)), pruning, precision), candidate, scorer, parity)


def _candidate(built: _Built, rate: float) -> Candidate:
    parity, size = built.parity, len(built.parts.onnx)
    point = Point(*built.names, parity.changed_share, parity.rank_correlation, rate, size)
    return Candidate(point, built.parts)


def _recovered(
    bundle: Bundle, config: ModelConfig, weights: Weights, material: Material, recovery: TrainConfig
) -> Mapping[str, NDArray[np.float32]]:
    pruned = TrainedModel(config, recovery, bundle.vocabulary, weights, ())
    return retrain(pruned, recovery, material.recover, material.stop).weights


def _parts(bundle: Bundle, config: ModelConfig, weights: Weights) -> BundleParts:
    model = load_transformer(config, bundle.vocabulary.known_words, weights)
    changed = {**bundle.config, "model": config.to_dict()}
    parts = replace(parts_of(bundle), weights=weights, config=changed, step_onnx=None, parity=None)
    return replace(parts, onnx=export_graph(model, config))


def _sensitive(parts: BundleParts, config: ModelConfig, tokens: WindowTokens) -> list[int]:
    few = _first_events(tokens, FOR_SENSITIVITY)
    return sensitive_products(
        parts.onnx, len(config.layers), lambda graph: _scorer(replace(parts, onnx=graph)).score(few)
    )


def _graphs(parts: BundleParts, config: ModelConfig, kept: list[int], material: Material) -> dict[str, bytes]:
    graph, layers = parts.onnx, len(config.layers)
    batches = list(_batches(parts, config, _first_events(material.recover, FOR_RANGES)))
    static = quantise_static(graph, layers, batches, kept)
    return dict(zip(PRECISIONS, (graph, quantise(graph, layers), quantise(graph, layers, kept), static), strict=True))


def _batches(parts: BundleParts, config: ModelConfig, tokens: WindowTokens) -> Iterator[ModelInputs]:
    columns = TokenColumns.of(tokens, parts.vocabulary, config)
    pieces = cut(replace(tokens, scored=np.zeros_like(tokens.scored)), config.block_size, None, 0)
    order = np.argsort(pieces.length, kind="stable")
    for at in range(0, len(order), BATCH):
        some = pieces.select(order[at : at + BATCH])
        yield columns.padded(some, padded_width(int(some.length.max()), config.block_size))


def _first_events(tokens: WindowTokens, events: int) -> WindowTokens:
    """The first windows that hold so many tokens together; all where there are fewer."""
    enough = int(np.searchsorted(np.cumsum(tokens.lengths), events)) + 1
    return select_windows(tokens, np.arange(min(enough, len(tokens.lengths))))


def _scorer(parts: BundleParts) -> OnnxScorer:
    """As a worker opens it."""
    with tempfile.TemporaryDirectory(prefix="longwatch-optimize-") as scratch:
        return OnnxScorer(write_bundle(Path(scratch) / "bundle", parts, "2026-01-01T00:00:00Z"))


def _interleaved_rates(scorers: list[OnnxScorer], tokens: WindowTokens) -> list[float]:
    """Events a second of one core for each, its best of some rounds: CPU time, and all take turns.

    Other work on the machine takes the core away for long stretches; what it does to caches then hits nobody alone.
    """
    best = [float("inf")] * len(scorers)
    for _ in range(ROUNDS):
        for number, scorer in enumerate(scorers):
            started = time.process_time()
            scorer.score(tokens)
            best[number] = min(best[number], time.process_time() - started)
    return [tokens.num_scores / seconds for seconds in best]
