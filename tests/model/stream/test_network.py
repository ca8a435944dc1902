"""Everything runs in the interpreter: one small network, and sequences just long enough for rings to go round."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from longwatch.model.config import ModelConfig
from longwatch.model.stream import EventRows, StreamNetwork
from longwatch.model.transformer import EventTransformer

CLASSES, TEMPLATES, LENGTH = 40, 9, 144
CONFIG = ModelConfig(
    d_model=64,
    num_heads=2,
    num_kv_heads=1,
    layers=("sliding(20) | global(3)", "strided(48, width=8)"),
    block_size=8,
    word_buckets=64,
)
Columns = dict[str, NDArray[np.int64]]


@pytest.fixture(scope="module")
def model() -> EventTransformer:
    torch.manual_seed(0)
    words = np.random.default_rng(0).integers(0, CONFIG.word_buckets, (CLASSES, CONFIG.max_words))
    made = EventTransformer(CONFIG, torch.from_numpy(words)).eval().requires_grad_(False)
    made.bias.data.normal_()
    made.norm.gain.data.uniform_(0.5, 2)
    for layer in made.layers:
        layer.attention_norm.gain.data.uniform_(0.5, 2)
        layer.feed_norm.gain.data.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def lexicon() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    words = rng.integers(0, CONFIG.word_buckets, (TEMPLATES, CONFIG.max_words))
    return torch.from_numpy(words), torch.from_numpy(rng.integers(0, CLASSES, TEMPLATES))


@pytest.fixture(scope="module")
def columns() -> Columns:
    rng = np.random.default_rng(2)
    limits = {"token": TEMPLATES, "gap": CONFIG.gap_buckets, "shape": CONFIG.shape_buckets, "target": CLASSES}
    return {name: rng.integers(0, limit, LENGTH) for name, limit in limits.items()}


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def network(request: pytest.FixtureRequest, model: EventTransformer) -> StreamNetwork:
    return StreamNetwork(model, "cpu", request.param)


@pytest.fixture(scope="module")
def events(network: StreamNetwork, lexicon: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return network.events(*lexicon)


@pytest.fixture(scope="module")
def whole(network: StreamNetwork, events: torch.Tensor, columns: Columns) -> torch.Tensor:
    return network.whole(events, rows(columns, np.arange(LENGTH)), [0, LENGTH])


def rows(columns: Columns, at: NDArray[np.int64]) -> EventRows:
    return EventRows.of(*(columns[name][at] for name in ("token", "gap", "shape", "target")), device="cpu")


def test_scores_are_those_of_the_network_in_float32(model, network, lexicon, columns, whole):
    grid = {name: torch.from_numpy(column)[None] for name, column in columns.items()}
    expected = model(grid["token"], grid["gap"], grid["shape"], *lexicon, grid["target"])[0]
    bound = 1e-5 if network.weights.start.dtype == torch.float32 else 0.1
    assert (whole - expected).abs().max() < bound


def test_events_are_the_networks_and_do_not_depend_on_how_many_there_are(model, network, lexicon):
    found = network.events(*lexicon)
    assert torch.allclose(found, model.compose(*lexicon), atol=1e-6)
    assert torch.equal(network.events(lexicon[0][4:5], lexicon[1][4:5])[0], found[4])


def test_a_stream_in_chunks_has_the_scores_of_the_whole_bitwise(network, events, columns, whole):
    state = network.new_state(slots=2, chunk=16, capacity=LENGTH)
    found, first = [], 0
    for size in (1, 16, 5, 16, 16, 2, 16, 16, 16, 9, 16, 15):
        at = np.zeros((2, 16), np.int64)
        at[1, :size] = np.arange(first, first + size)
        scores = network.step(events, rows(columns, at), state, [-1, 1], [0, size])
        assert scores[0].eq(0).all()
        found.append(scores[1, :size])
        first += size
    assert first == LENGTH
    assert torch.equal(torch.cat(found), whole)
    assert state.lengths.tolist() == state.cursors.tolist() == [0, LENGTH]


def test_a_stream_event_by_event_has_the_scores_of_the_whole_bitwise(network, events, columns, whole):
    state = network.new_state(slots=1, chunk=1, capacity=LENGTH)
    found = [network.step(events, rows(columns, np.array([at])), state, [0], [1])[0, 0] for at in range(8)]
    assert torch.equal(torch.stack(found), whole[:8])


def test_scores_do_not_depend_bitwise_on_packed_neighbours(network, events, columns, whole):
    at = np.concatenate([np.arange(50)[::-1], np.arange(LENGTH), [3, 3]])
    bounds = [0, 7, 7, 50, 50 + LENGTH, 52 + LENGTH]
    found = network.whole(events, rows(columns, at), bounds)
    assert torch.equal(found[50 : 50 + LENGTH], whole)


def test_a_stream_goes_on_from_a_whole_sequence_bitwise(network, events, columns, whole):
    state = network.new_state(slots=3, chunk=16, capacity=LENGTH)
    at = np.concatenate([np.arange(30), np.arange(130)])
    found = network.whole(events, rows(columns, at), [0, 30, 160], state, [-1, 2])
    assert torch.equal(found[30:], whole[:130])
    assert state.lengths.tolist() == state.cursors.tolist() == [0, 0, 130]
    scores = network.step(events, rows(columns, np.arange(130, 144)), state, [2], [14])
    assert torch.equal(scores[0], whole[130:])


def test_a_reset_slot_holds_a_new_stream(network, events, columns, whole):
    state = network.new_state(slots=2, chunk=16, capacity=LENGTH)
    for _ in range(2):
        scores = network.step(events, rows(columns, np.arange(16)), state, [1], [16])
        assert torch.equal(scores[0], whole[:16])
        state.reset([1])


def test_sizes_that_do_not_go_together_are_refused(network, events, columns):
    state = network.new_state(slots=2, chunk=4, capacity=LENGTH)
    for slots, counts, total in (([0], [1], 5), ([0, 1], [1, 1], 3), ([0], [5], 4), ([0, 1, -1], [1, 1, 1], 3)):
        with pytest.raises(ValueError, match="rows: expected"):
            network.step(events, rows(columns, np.arange(total)), state, slots, counts)
    assert state.lengths.tolist() == [0, 0]
