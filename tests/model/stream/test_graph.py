"""Needs a GPU; what a step computes is tested in the interpreter, in test_network.py."""

import numpy as np
import pytest
import torch

from longwatch.model.config import ModelConfig
from longwatch.model.stream import EventRows, StepGraph, StreamNetwork
from longwatch.model.transformer import EventTransformer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
STREAMS, LENGTH = 3, 200


@pytest.mark.parametrize("overlap", [False, True])
def test_a_graph_scores_as_the_whole_bitwise(overlap):
    torch.manual_seed(0)
    config = ModelConfig(
        d_model=128, num_heads=4, num_kv_heads=2, layers=("sliding(70)", "sliding(20) | global(3)"), word_buckets=64
    )
    rng = np.random.default_rng(0)
    words = torch.from_numpy(rng.integers(0, 64, (50, config.max_words)))
    network = StreamNetwork(EventTransformer(config, words).eval())
    events = network.events(words.cuda(), torch.arange(50).cuda())
    limits = (50, config.gap_buckets, config.shape_buckets, 50)
    columns = [rng.integers(0, limit, (STREAMS, LENGTH)) for limit in limits]
    whole = network.whole(events, EventRows.of(*columns), np.arange(STREAMS + 1) * LENGTH).view(STREAMS, LENGTH)
    graph = StepGraph(network, events, network.new_state(STREAMS, chunk=1), STREAMS, 1, overlap)
    steps = [graph.run(range(STREAMS), [1] * STREAMS, *(c[:, i] for c in columns)) for i in range(LENGTH)]
    assert np.array_equal(np.concatenate(steps, axis=1), whole.cpu().numpy())


def test_a_graph_must_fit_its_state():
    config = ModelConfig(d_model=64, num_heads=2, word_buckets=64)
    network = StreamNetwork(EventTransformer(config, torch.zeros(3, config.max_words, dtype=torch.int64)))
    state, events = network.new_state(2, chunk=1), torch.zeros(1, 64, device="cuda")
    with pytest.raises(ValueError, match="streams, chunk: expected 1 to 2 and 1 to 1"):
        StepGraph(network, events, state, 3)
