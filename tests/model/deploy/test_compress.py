"""Pruning, int8 and the front: smaller networks are what they say, and no beaten point is chosen."""

import dataclasses
import logging

import numpy as np
import onnx
import pytest
import torch

from longwatch.model.bundle import GRAPH, WEIGHTS, Bundle
from longwatch.model.config import ModelConfig
from longwatch.model.dataset import split_in_time
from longwatch.model.deploy.prune import drop_layer, narrow, prune_channels, prune_heads
from longwatch.model.deploy.quantise import linear_products, quantise, quantise_static, sensitive_products
from longwatch.model.deploy.search import PRECISIONS, Material, Point, choose, front, sweep
from longwatch.model.export import random_inputs
from longwatch.model.graph_rules import refusal
from longwatch.model.scorer.batching import INPUT_NAMES
from longwatch.model.scorer.onnx_session import open_session
from longwatch.model.train import TrainedModel, retrain
from longwatch.model.transformer import EventTransformer, load_transformer
from support.bundles import QUICK
from support.windows import make_windows


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


@pytest.mark.parametrize("dead", [0, 1])
def test_heads_that_weigh_nothing_can_go_without_a_trace(dead: int):
    config = ModelConfig(d_model=32, num_heads=4, num_kv_heads=2, layers=("sliding(9)", "dense"), word_buckets=64)
    torch.manual_seed(dead)
    words = torch.randint(1, 64, (9, config.max_words))
    weights = {name: t.numpy().copy() for name, t in EventTransformer(config, words).state_dict().items()}
    for layer in range(2):
        weights[f"layers.{layer}.attention_out.weight"][:, dead * 16 : (dead + 1) * 16] = 0
    smaller, pruned = prune_heads(config, weights, 1)
    assert (smaller.num_heads, smaller.num_kv_heads, smaller.head_dim, smaller.d_model) == (2, 1, 8, 32)
    inputs = [torch.from_numpy(array) for array in random_inputs(config, 9, (2, 2, 9), seed=0).arrays]
    whole, less = (load_transformer(c, words.numpy(), w)(*inputs) for c, w in ((config, weights), (smaller, pruned)))
    assert (whole - less).abs().max() < 1e-5


def test_a_recovery_is_kept_only_where_it_is_better_on_windows_it_did_not_learn_from(bundle: Bundle):
    split = split_in_time(make_windows(120, seed=1))
    config, weights = prune_channels(bundle.model_config, bundle.arrays(WEIGHTS), 0.25)
    pruned = TrainedModel(config, QUICK, bundle.vocabulary, weights, ())
    gentle = dataclasses.replace(QUICK, learning_rate=1e-3, max_steps=40)
    found = retrain(pruned, gentle, split.fit.tokens, split.early_stop.tokens)
    assert found.validation_nll < found.history[0][2] - 0.01
    wild = dataclasses.replace(QUICK, learning_rate=5.0, max_steps=20)
    assert retrain(pruned, wild, split.fit.tokens, split.early_stop.tokens).weights is weights


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


def test_static_int8_takes_its_ranges_from_what_it_is_shown(bundle: Bundle):
    graph, layers = bundle.read(GRAPH), len(bundle.model_config.layers)
    classes = bundle.vocabulary.num_classes
    seen = [random_inputs(bundle.model_config, classes, (2, 4, 9), seed) for seed in range(3)]
    static = quantise_static(graph, layers, seen, kept={0})
    kinds = [node.op_type for node in onnx.load_from_string(static).graph.node]
    assert "DynamicQuantizeLinear" not in kinds
    assert kinds.count("QuantizeLinear") >= 4
    assert refusal(static) is None
    difference = np.abs(run(static, bundle) - run(graph, bundle))
    assert 0 < difference.max() < 1.0


def test_the_quantisers_advice_is_not_for_users(bundle: Bundle, caplog: pytest.LogCaptureFixture):
    quantise(bundle.read(GRAPH), len(bundle.model_config.layers))
    assert not caplog.records
    logging.warning("as before")
    assert [record.message for record in caplog.records] == ["as before"]


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
    return Point("sliding(8)", "whole", "fp32", changed, 1.0, rate, size)


def test_a_point_that_another_beats_is_not_on_the_front():
    slow, fast, wrong = point(10, 0.0), point(20, 0.0), point(15, 0.5)
    assert front([slow, fast, wrong]) == [fast]
    assert front([point(10, 0.0), point(20, 0.1)]) == [point(20, 0.1), point(10, 0.0)]


def test_the_fastest_that_changes_few_enough_decisions_is_chosen():
    points = [point(10, 0.0), point(30, 0.2), point(20, 0.01)]
    assert choose(points, 0.05).events_a_second == 20
    assert choose(points, 0.0).events_a_second == 10
    assert choose(points, 1.0).events_a_second == 30


def test_of_points_about_as_fast_the_one_that_changes_least_is_chosen():
    points = [point(100, 0.01), point(97, 0.005), point(90, 0.0)]
    assert choose(points, 0.05).events_a_second == 97


def test_too_few_windows_to_recover_and_to_judge_are_refused():
    with pytest.raises(ValueError, match="expected 10 windows or more"):
        Material.of(make_windows(9, seed=1).tokens)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # four exports, each of several seconds on a quiet machine
def test_every_combination_is_measured_and_the_whole_network_changes_nothing(bundle: Bundle):
    gentle = dataclasses.replace(QUICK, learning_rate=1e-3, max_steps=20)
    material = Material.of(make_windows(60, seed=2).tokens)
    found = [each.point for each in sweep(bundle, material, gentle, divisors=(1,))]
    assert len(found) == len({each.name for each in found}) == 4 * len(PRECISIONS)
    assert (found[0].pruning, found[0].precision, found[0].changed_share) == ("whole", "fp32", 0.0)
    assert choose(found, 0.0).changed_share == 0.0
    smallest = min(found, key=lambda each: each.graph_bytes)
    assert (smallest.pruning, smallest.precision) == ("all of these", "int8")
