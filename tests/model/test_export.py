import dataclasses

import numpy as np
import onnx
import pytest

from longwatch.model.bundle import GRAPH, WEIGHTS, Bundle, BundleError, BundleParts, write_bundle
from longwatch.model.export import ExportError, check_parity, export_onnx, export_weights, max_difference
from longwatch.model.onnx_wire import uses_external_data
from longwatch.model.train import TrainedModel
from longwatch.model.transformer import load_transformer
from support.bundles import QUICK, TINY, make_branching_graph, train_tiny

HYBRID = dataclasses.replace(TINY, layers=("sliding(24) | global(4) | strided(32, width=4)", "dense"))


@pytest.fixture(scope="module")
def hybrid() -> TrainedModel:
    return train_tiny(HYBRID, dataclasses.replace(QUICK, max_steps=3))


def test_hybrid_patterns_export_and_agree_at_sizes_not_seen(hybrid):
    graph = export_onnx(hybrid)
    model = load_transformer(hybrid.config, hybrid.vocabulary.known_words, hybrid.weights)
    assert max_difference(graph, model, hybrid.config) < 1e-5


def test_graph_takes_any_batch_length_and_lexicon(bundle: Bundle):
    proto = onnx.load_from_string(bundle.read(GRAPH))
    shapes = {i.name: [d.dim_param for d in i.type.tensor_type.shape.dim] for i in proto.graph.input}
    assert all(shapes["token"])
    assert shapes["token"] == shapes["target"]
    assert shapes["lexicon_words"][0] == shapes["lexicon_known"][0] != ""


def test_graph_uses_standard_operators_alone(bundle: Bundle):
    proto = onnx.load_from_string(bundle.read(GRAPH))
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    assert not proto.functions


def test_a_graph_that_differs_from_torch_is_refused(bundle: Bundle):
    weights = {name: array + np.float32(0.01) for name, array in bundle.arrays(WEIGHTS).items()}
    model = load_transformer(bundle.model_config, bundle.vocabulary.known_words, weights)
    with pytest.raises(ExportError, match="ONNX Runtime differs from torch by"):
        check_parity(bundle.read(GRAPH), model, bundle.model_config)


def test_a_bundles_weights_export_again_to_the_graph_it_holds(bundle: Bundle):
    graph, difference = export_weights(bundle)
    assert graph == bundle.read(GRAPH)
    model = load_transformer(bundle.model_config, bundle.vocabulary.known_words, bundle.arrays(WEIGHTS))
    assert difference == max_difference(graph, model, bundle.model_config) < 1e-5


def test_weights_that_do_not_fit_the_config_are_not_exported(bundle: Bundle, tmp_path):
    config = {**bundle.config, "model": {**bundle.config["model"], "d_model": 64}}
    parts = BundleParts(
        bundle.arrays(WEIGHTS),
        bundle.read(GRAPH),
        bundle.template_set_json,
        bundle.vocabulary,
        bundle.evidence,
        bundle.calibration,
        config,
        {},
    )
    with pytest.raises(BundleError, match=r"weights\.safetensors: does not fit the config"):
        export_weights(write_bundle(tmp_path / "wide", parts, "2026-01-01T00:00:00Z"))


@pytest.mark.parametrize("location", [0, 1], ids=["inside", "outside"])
def test_external_data_is_seen_however_deep(location):
    assert uses_external_data(make_branching_graph(location).SerializeToString()) == bool(location)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_truncated_graph_is_not_read(cut):
    with pytest.raises(ValueError, match="not an ONNX model"):
        uses_external_data(make_branching_graph(0).SerializeToString()[:-cut])
