import pytest
import torch

from longwatch.kernels import parse_pattern
from longwatch.model.stream.state import StreamState


def make_state(*patterns: str, capacity: int = 100) -> StreamState:
    return StreamState(
        [parse_pattern(text) for text in patterns],
        torch.full((8,), 2.0),
        slots=4,
        kv_heads=1,
        head_dim=16,
        chunk=3,
        capacity=capacity,
    )


def test_the_buffer_begins_with_the_start_vector_and_has_room_for_a_step():
    state = make_state("sliding(5)")
    assert state.buffer.shape == (1 + 4 + 4 * 3, 8)
    assert state.buffer[0].eq(2).all()
    assert state.base == 5


def test_streams_of_sliding_and_global_layers_have_no_end():
    state = make_state("sliding(5)", "sliding(9) | global(2)")
    state.advance([0], [10**6])
    assert state.lengths.tolist() == [10**6, 0, 0, 0]


@pytest.mark.parametrize("pattern", ["dense", "strided(32, width=4)"])
def test_streams_of_other_layers_end_at_their_capacity(pattern):
    state = make_state("sliding(5)", pattern)
    state.advance([0, 2], [100, 7])
    with pytest.raises(ValueError, match="slot 2 would hold 101 events, expected at most its capacity 100"):
        state.advance([1, 2], [5, 94])
    assert state.lengths.tolist() == [100, 0, 7, 0]


@pytest.mark.parametrize("slots", [[1, 1], [4, -1]])
def test_a_step_has_one_chunk_a_slot(slots):
    state = make_state("sliding(5)")
    with pytest.raises(ValueError, match="slots: expected different numbers below 4, or -1"):
        state.advance(slots, [1, 1])


def test_idle_streams_are_not_noted():
    state = make_state("sliding(5)")
    state.advance([-1, 3, -1], [2, 2, 2])
    assert state.lengths.tolist() == [0, 0, 0, 2]


def test_reset_slots_are_empty():
    state = make_state("dense")
    state.advance([0, 1], [100, 100])
    state.cursors[:2] = 100
    state.reset([1])
    assert state.lengths.tolist() == state.cursors.tolist() == [100, 0, 0, 0]


def test_sizes_must_be_at_least_one():
    with pytest.raises(ValueError, match="slots, chunk, capacity"):
        make_state("dense", capacity=0)
