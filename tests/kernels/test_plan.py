from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from longwatch.kernels import FULL, Dense, Global, Pattern, Sliding, Strided, TopK, build_plan

LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=4)
PATTERN = st.from_type(Pattern)


def offsets(lengths: list[int]) -> NDArray[np.int32]:
    return np.cumsum([0, *lengths]).astype(np.int32)


def mask_by_definition(pattern: Pattern, bounds: NDArray[np.int32]) -> NDArray[np.bool_]:
    mask = np.zeros((bounds[-1], bounds[-1]), dtype=bool)
    for start, stop in pairwise(bounds):
        position = np.arange(stop - start)
        mask[start:stop, start:stop] = pattern.visible(position[:, None], position[None, :])
    return mask


@given(PATTERN, LENGTHS, st.integers(1, 17))
def test_the_entries_show_exactly_what_the_pattern_shows(pattern: Pattern, lengths: list[int], block: int) -> None:
    plan = build_plan(pattern, offsets(lengths), block)
    np.testing.assert_array_equal(plan.to_dense(), mask_by_definition(pattern, offsets(lengths)))


@given(PATTERN, LENGTHS, st.integers(1, 17))
def test_each_entry_is_live_and_full_exactly_when_it_needs_no_mask(
    pattern: Pattern, lengths: list[int], block: int
) -> None:
    plan = build_plan(pattern, offsets(lengths), block)
    mask = mask_by_definition(pattern, offsets(lengths))
    for tile in range(plan.tiles):
        for entry in range(plan.row_ptr[tile], plan.row_ptr[tile + 1]):
            start = plan.key_start[entry]
            inside = start + block <= plan.document_stop[tile]
            seen = mask[plan.tile_start[tile] : plan.tile_stop[tile], start : start + block]
            assert seen.any()
            assert (plan.kind[entry] == FULL) == (inside and seen.all())


@given(PATTERN, LENGTHS, st.integers(1, 17))
def test_tiles_cover_each_document_from_its_start_without_padding(
    pattern: Pattern, lengths: list[int], block: int
) -> None:
    plan = build_plan(pattern, offsets(lengths), block)
    covered = [row for start, stop in zip(plan.tile_start, plan.tile_stop, strict=True) for row in range(start, stop)]
    assert covered == list(range(sum(lengths)))
    assert np.all((plan.tile_start - plan.document_start) % block == 0)
    assert np.all(plan.tile_stop - plan.tile_start <= block)


@given(PATTERN, LENGTHS, st.integers(1, 17))
def test_a_row_reads_its_blocks_by_rising_key_and_each_once(pattern: Pattern, lengths: list[int], block: int) -> None:
    plan = build_plan(pattern, offsets(lengths), block)
    for begin, end in pairwise(plan.row_ptr):
        assert np.all(np.diff(plan.key_start[begin:end]) >= block)


def test_live_blocks_grow_with_tokens_times_span_and_not_with_their_square() -> None:
    pattern = Sliding(512) | Global(64)
    short, long = (build_plan(pattern, [0, tokens], 64) for tokens in (1 << 16, 1 << 20))
    # Nine blocks of band and one global block, less what the first ten tiles do not have yet.
    assert short.live_blocks == 10 * short.tiles - 45
    assert long.live_blocks == 10 * long.tiles - 45
    assert long.full_blocks == 8 * long.tiles - 36


def test_head_groups_have_their_own_rows() -> None:
    patterns = [Sliding(5), Dense(), Strided(8, width=2)]
    plan = build_plan(patterns, [0, 30, 41], 8)
    for group, pattern in enumerate(patterns):
        alone = build_plan(pattern, [0, 30, 41], 8)
        np.testing.assert_array_equal(plan.to_dense(group), alone.to_dense())
        np.testing.assert_array_equal(np.diff(plan.rows(group)), np.diff(alone.row_ptr))
    assert plan.live_blocks == sum(build_plan(pattern, [0, 30, 41], 8).live_blocks for pattern in patterns)


@pytest.mark.parametrize("pattern", [TopK(2, block=4), TopK(2, block=4) | Global(3), TopK(1, block=4) | Sliding(6)])
def test_with_topk_the_entries_show_what_is_certain(pattern: Pattern) -> None:
    plan = build_plan(pattern, [0, 13, 30], 4)
    for start, stop in ((0, 13), (13, 30)):
        position = np.arange(stop - start)
        expected = pattern.certain(position[:, None], position[None, :])
        np.testing.assert_array_equal(plan.to_dense()[start:stop, start:stop], expected)


def test_lists_arrays_and_tensors_of_lengths_give_the_same_plan() -> None:
    bounds = [0, 7, 7, 30]
    plans = [build_plan(Sliding(9), form, 4) for form in (bounds, np.array(bounds), torch.tensor(bounds))]
    for plan in plans[1:]:
        np.testing.assert_array_equal(plan.key_start, plans[0].key_start)
        np.testing.assert_array_equal(plan.row_ptr, plans[0].row_ptr)
    assert plans[0].key_start.dtype == np.int32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((Sliding(4), [1, 5], 8), "cu_seqlens: expected to start at 0"),
        ((Sliding(4), [0, 5, 3], 8), "cu_seqlens: expected to start at 0 and never fall"),
        ((Sliding(4), [0.0, 5.0], 8), "cu_seqlens: expected integers"),
        ((Sliding(4), [], 8), "cu_seqlens: expected integers"),
        ((Sliding(4), [0, 1 << 31], 8), "below 2"),
        ((Sliding(4), [0, 5], 0), "block_size: expected at least 1, got 0"),
        (([], [0, 5], 8), "patterns: expected at least one"),
        ((TopK(2, block=4), [0, 5], 8), r"block_size: expected 4, the block of topk\(2, block=4\), got 8"),
    ],
)
def test_an_error_names_the_argument(arguments: tuple[Pattern, list[int], int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_plan(*arguments)
