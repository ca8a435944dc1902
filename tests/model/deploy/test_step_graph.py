"""The step graph: a stream in any pieces, among any others, has the scores of the whole window."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from longwatch.model.bundle import STEP_GRAPH, Bundle, write_bundle
from longwatch.model.deploy.package import deployable_parts
from longwatch.model.deploy.step_graph import export_step
from longwatch.model.export import OPSET, random_inputs
from longwatch.model.scorer.batching import ModelInputs
from longwatch.model.scorer.onnx import OnnxScorer
from longwatch.model.scorer.onnx_step import StepSession
from longwatch.model.scorer.torch import TorchScorer, load_network
from support.bundles import QUICK, TINY, make_branching_graph, make_parts, train_tiny
from support.windows import make_tokens

CLOSE = 1e-4
SLOTS = 4


def window(bundle: Bundle, length: int, seed: int, rows: int = 1) -> tuple[ModelInputs, NDArray[np.float32]]:
    """Random inputs [rows, length] and torch's surprise of them."""
    config, model = bundle.model_config, load_network(bundle)
    padded = -(-length // config.block_size)
    inputs = random_inputs(config, len(model.known_words), (rows, padded, 9), seed)
    expected = model(*(torch.from_numpy(array) for array in inputs.arrays)).numpy()
    return piece(inputs, slice(0, length)), expected[:, :length]


def piece(inputs: ModelInputs, events: slice, rows: slice = slice(None)) -> ModelInputs:
    columns = (inputs.token, inputs.gap, inputs.shape)
    token, gap, shape = (column[rows, events] for column in columns)
    return ModelInputs(token, gap, shape, inputs.lexicon_words, inputs.lexicon_known, inputs.target[rows, events])


@pytest.fixture(scope="module")
def session(hybrid: Bundle) -> StepSession:
    return StepSession(hybrid.read(STEP_GRAPH), hybrid.model_config, slots=SLOTS, chunk=32)


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 150), seed=st.integers(0, 99), data=st.data())
def test_a_stream_in_any_chunks_has_the_scores_of_the_whole_window(hybrid, session, length, seed, data):
    inputs, expected = window(hybrid, length, seed)
    at, found, slot = 0, [], np.array([data.draw(st.integers(0, SLOTS - 1))])
    while at < length:
        count = data.draw(st.integers(1, min(32, length - at)))
        found.append(session.run(slot, np.array([at]), piece(inputs, slice(at, at + count))))
        at += count
    assert np.abs(np.concatenate(found, axis=1) - expected).max() < CLOSE


def test_streams_that_stand_elsewhere_step_together_and_do_not_touch_each_other(hybrid, session):
    inputs, expected = window(hybrid, 96, seed=3, rows=2)
    session.run(np.array([2]), np.array([0]), piece(inputs, slice(0, 20), slice(0, 1)))
    session.run(np.array([0]), np.array([0]), piece(inputs, slice(0, 5), slice(1, 2)))
    halves = piece(inputs, slice(20, 30), slice(0, 1)), piece(inputs, slice(5, 15), slice(1, 2))
    both = ModelInputs(
        *(
            getattr(halves[0], name)
            if name.startswith("lexicon")
            else np.concatenate([getattr(half, name) for half in halves])
            for name in vars(inputs)
        )
    )
    found = session.run(np.array([2, 0]), np.array([20, 5]), both)
    assert np.abs(found - np.stack([expected[0, 20:30], expected[1, 5:15]])).max() < CLOSE


def test_a_step_gives_scores_of_its_own(hybrid, session):
    inputs, expected = window(hybrid, 64, seed=4)
    first = session.run(np.array([1]), np.array([0]), piece(inputs, slice(0, 32)))
    session.run(np.array([1]), np.array([32]), piece(inputs, slice(32, 64)))
    assert np.abs(first - expected[:, :32]).max() < CLOSE


def test_more_events_at_once_than_the_caches_are_made_for_are_refused(hybrid, session):
    inputs, _ = window(hybrid, 48, seed=0)
    with pytest.raises(ValueError, match="at most 32 events at once, the session's, got 33"):
        session.run(np.array([0]), np.array([0]), piece(inputs, slice(0, 33)))


def test_caches_of_a_sliding_network_never_grow(bundle: Bundle):
    graph = export_step(load_network(bundle), bundle.model_config)
    session = StepSession(graph, bundle.model_config, slots=2, chunk=8)
    before = session.cache_bytes
    inputs, _ = window(bundle, 16, seed=0)
    session.run(np.array([0]), np.array([500_000]), piece(inputs, slice(0, 8)))
    assert session.cache_bytes == before


def test_the_graph_is_standard_operators_at_the_pinned_opset(hybrid):
    proto = onnx.load_from_string(hybrid.read(STEP_GRAPH))
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    assert not proto.functions
    assert [(entry.domain, entry.version) for entry in proto.opset_import if not entry.domain] == [("", OPSET)]


@pytest.mark.parametrize("lengths", [[1, 17, 700], [1000, 3, 513]])
def test_windows_beyond_the_budget_go_through_the_step_graph_with_the_reference_scores(hybrid, lengths):
    tokens = make_tokens(lengths, seed=1, novel_share=0.02, scored=[0, 2, 400])
    scorer = OnnxScorer(hybrid, token_budget=256)
    found, expected = scorer.score(tokens), TorchScorer(hybrid).score(tokens)
    assert "_step_session" in vars(scorer)
    assert np.abs(found - expected).max() < CLOSE


def test_a_layer_whose_keys_data_choose_has_no_step_graph(tmp_path):
    config = dataclasses.replace(TINY, layers=("sliding(8) | topk(1, block=16)",))
    trained = train_tiny(config, dataclasses.replace(QUICK, max_steps=2))
    parts = make_parts(trained, make_branching_graph(0).SerializeToString())
    assert deployable_parts(write_bundle(tmp_path / "topk", parts, "2026-01-01T00:00:00Z")).step_onnx is None
