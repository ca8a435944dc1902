"""Pruning, int8 and the front: smaller networks are what they say, and no beaten point is chosen."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch

from longwatch.model.bundle import GRAPH, WEIGHTS, Bundle
from longwatch.model.deploy.prune import drop_layer, narrow, prune_channels
from longwatch.model.deploy.quantise import linear_products, quantise, sensitive_products
from longwatch.model.deploy.search import Point, choose, front
from longwatch.model.export import random_inputs
from longwatch.model.graph_rules import refusal
from longwatch.model.scorer.batching import INPUT_NAMES
from longwatch.model.scorer.onnx_session import open_session
from longwatch.model.transformer import load_transformer


def run(graph: bytes, bundle: Bundle) -> np.ndarray:
    inputs = random_inputs(bundle.model_config, bundle.vocabulary.num_classes, (2, 4, 9), seed=0)
    session = open_session(graph, 1, "cpu")
    return session.run(None, dict(zip(INPUT_NAMES, inputs.arrays, strict=True)))[0]


def network(bundle: Bundle, config, weights) -> np.ndarray:
    inputs = random_inputs(bundle.model_config, bundle.vocabulary.num_classes, (2, 4, 9), seed=0)
    model = load_transformer(config, bundle.vocabulary.known_words, weights)
    return model(*map(torch.from_numpy, inputs.arrays)).numpy()


def test_channels_that_weigh_nothing_can_go_without_a_trace(bundle: Bundle):
    config, weights = bundle.model_config, bundle.arrays(WEIGHTS)
    dead = np.arange(0, config.ffn_width, 2)
    for layer in range(len(config.layers)):
        weights[f"layers.{layer}.feed_out.weight"][:, dead] = 0
    smaller, pruned = prune_channels(config, weights, 0.5)
    assert smaller.ffn_width == config.ffn_width // 2
    assert np.abs(network(bundle, config, weights) - network(bundle, smaller, pruned)).max() < 1e-5


def test_a_layer_that_adds_nothing_can_go_without_a_trace(bundle: Bundle):
    config, weights = bundle.model_config, bundle.arrays(WEIGHTS)
    for name in ("attention_out", "feed_out"):
        weights[f"layers.0.{name}.weight"][:] = 0
    smaller, pruned = drop_layer(config, weights, 0)
    assert len(smaller.layers) == len(config.layers) - 1
    assert np.abs(network(bundle, config, weights) - network(bundle, smaller, pruned)).max() < 1e-5


def test_the_only_layer_stays(bundle: Bundle):
    config = dataclasses.replace(bundle.model_config, layers=("dense",))
    with pytest.raises(ValueError, match="expected two or more"):
        drop_layer(config, {}, 0)


def test_spans_alone_are_narrowed(bundle: Bundle):
    config = dataclasses.replace(bundle.model_config, layers=("sliding(9) | global(4)", "dense"))
    assert narrow(config, 2).layers == ("sliding(5) | global(4)", "dense")
    assert narrow(config, 1).layers == config.layers


def test_int8_replaces_the_layers_products_by_standard_operators_and_stays_near(bundle: Bundle):
    graph, layers = bundle.read(GRAPH), len(bundle.model_config.layers)
    short = quantise(graph, layers)
    kinds = [node.op_type for node in onnx.load_from_string(short).graph.node]
    assert kinds.count("MatMulInteger") == 5 * layers
    assert refusal(short) is None
    difference = np.abs(run(short, bundle) - run(graph, bundle))
    assert 0 < difference.max() < 0.5


def test_products_that_are_kept_stay_float32(bundle: Bundle):
    graph, layers = bundle.read(GRAPH), len(bundle.model_config.layers)
    kept = quantise(graph, layers, kept={0, 3})
    assert [node.op_type for node in onnx.load_from_string(kept).graph.node].count("MatMulInteger") == 5 * layers - 2
    every = set(range(len(linear_products(graph, layers))))
    assert np.array_equal(run(quantise(graph, layers, every), bundle), run(graph, bundle))


def test_the_most_sensitive_products_are_those_that_move_scores_most(bundle: Bundle):
    graph, layers = bundle.read(GRAPH), len(bundle.model_config.layers)

    def moved(kept: list[int]) -> float:
        others = set(range(5 * layers)) - set(kept)
        return float(np.square(run(quantise(graph, layers, others), bundle) - run(graph, bundle)).mean())

    chosen = sensitive_products(graph, layers, lambda g: run(g, bundle))
    assert len(chosen) == layers
    assert min(moved([n]) for n in chosen) >= max(moved([n]) for n in set(range(5 * layers)) - set(chosen))


def point(rate: float, changed: float, size: int = 100) -> Point:
    return Point("sliding(8)", "whole", "fp32", changed, 1.0, None, rate, size)


def test_a_point_that_another_beats_is_not_on_the_front():
    slow, fast, wrong = point(10, 0.0), point(20, 0.0), point(15, 0.5)
    assert front([slow, fast, wrong]) == [fast]
    assert front([point(10, 0.0), point(20, 0.1)]) == [point(20, 0.1), point(10, 0.0)]


def test_the_fastest_that_changes_few_enough_decisions_is_chosen():
    points = [point(10, 0.0), point(30, 0.2), point(20, 0.01)]
    assert choose(points, 0.05).events_a_second == 20
    assert choose(points, 0.0).events_a_second == 10
    assert choose(points, 1.0).events_a_second == 30
