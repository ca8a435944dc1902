import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from longwatch.model.dataset import Windows, crops, select_windows, shuffled_batches, split_in_time, split_interleaved
from support.windows import make_tokens, make_windows


def test_windows_survive_a_file(tmp_path):
    windows = make_windows(20)
    windows.save(tmp_path / "w.safetensors")
    loaded = Windows.load(tmp_path / "w.safetensors")
    assert loaded.tokens.templates == windows.tokens.templates
    assert np.array_equal(loaded.end_ms, windows.end_ms)
    for name, column in vars(windows.tokens).items():
        if name != "templates":
            assert np.array_equal(getattr(loaded.tokens, name), column)
            assert getattr(loaded.tokens, name).dtype == column.dtype


def test_a_file_of_something_else_is_refused(tmp_path):
    save_file({"x": np.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors: expected windows, found no template_id"):
        Windows.load(tmp_path / "w.safetensors")


def test_a_window_without_times_is_refused():
    with pytest.raises(ValueError, match="expected a start and an end for each of 2 windows"):
        Windows(make_tokens([1, 1]), np.zeros(1, np.int64), np.zeros(2, np.int64))


@given(st.permutations(range(20)))
def test_split_keeps_time_order_whatever_order_windows_came_in(order):
    windows = make_windows(20).select(np.array(order))
    split = split_in_time(windows, early_stop=0.2, calibration=0.1)
    assert [len(part) for part in (split.fit, split.early_stop, split.calibration)] == [14, 4, 2]
    assert split.fit.start_ms.max() < split.early_stop.start_ms.min()
    assert split.early_stop.start_ms.max() < split.calibration.start_ms.min()


def test_too_few_windows_to_split_is_an_error():
    with pytest.raises(ValueError, match="expected 3 windows or more to split, found 2"):
        split_in_time(make_windows(2))


def test_shares_that_leave_nothing_to_fit_are_an_error():
    with pytest.raises(ValueError, match=r"found 0\.5 and 0\.5"):
        split_in_time(make_windows(9), 0.5, 0.5)


def parts_of(split):
    return [part.start_ms.tolist() for part in (split.fit, split.early_stop, split.calibration)]


SHARES = st.tuples(st.floats(0.05, 0.4), st.floats(0.05, 0.4))


@given(st.integers(80, 400), SHARES)
def test_interleaved_every_window_is_in_exactly_one_part_and_shares_are_the_asked_ones(count, shares):
    windows = make_windows(count, longest=7)
    parts = parts_of(split_interleaved(windows, *shares))
    assert sorted(start for part in parts for start in part) == windows.start_ms.tolist()
    wanted = (1 - sum(shares), *shares)
    assert all(abs(len(part) - count * share) <= 3 for part, share in zip(parts, wanted, strict=True))


@given(st.integers(100, 400), SHARES)
def test_interleaved_parts_each_span_the_whole_time(count, shares):
    """Between two windows of a part, and before its first and after its last, lie few windows of the other parts."""
    parts = parts_of(split_interleaved(make_windows(count, longest=7), *shares))
    for part, share in zip(parts, (1 - sum(shares), *shares), strict=True):
        places = np.array([-1, *(start // 60_000 for start in part), count])
        assert np.diff(places).max() <= 3 / share + 1


@given(st.permutations(range(25)))
def test_interleaved_parts_do_not_depend_on_the_order_that_windows_came_in(order):
    windows = make_windows(25, longest=7)
    assert parts_of(split_interleaved(windows.select(np.array(order)))) == parts_of(split_interleaved(windows))


@pytest.mark.parametrize("shares", [(0.0, 0.2), (0.2, 0.0), (-0.1, 0.2), (0.5, 0.5), (0.7, 0.4)])
def test_interleaved_shares_that_leave_a_part_empty_are_an_error(shares):
    with pytest.raises(ValueError, match=f"found {shares[0]} and {shares[1]}"):
        split_interleaved(make_windows(9), *shares)


def refusal(windows, shares):
    """What the split says against it; empty where it splits."""
    try:
        split_interleaved(windows, *shares)
    except ValueError as error:
        return str(error)
    return ""


@given(st.integers(0, 30), SHARES)
def test_interleaved_no_part_is_empty_or_it_is_an_error(count, shares):
    windows = make_windows(count, longest=7)
    if said := refusal(windows, shares):
        assert f"found {count} in all, too few for the shares {shares[0]} and {shares[1]}; replay a longer" in said
        assert count < 3 / min(shares)
    else:
        assert all(parts_of(split_interleaved(windows, *shares)))


@pytest.mark.parametrize("count", [6, 7, 8, 20])
def test_six_windows_are_enough_to_interleave_with_the_default_shares(count):
    assert all(parts_of(split_interleaved(make_windows(count))))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
def test_selected_windows_are_those_windows(lengths, data):
    tokens = make_tokens(lengths)
    index = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=6)), np.int64)
    chosen = select_windows(tokens, index)
    parts = np.split(tokens.gap_ms, tokens.cu_seqlens[1:-1])
    assert [len(parts[i]) for i in index] == chosen.lengths.tolist()
    assert chosen.gap_ms.tolist() == [gap for i in index for gap in parts[i].tolist()]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(2, 12), st.data())
def test_crops_have_each_unscored_token_once_but_for_those_whose_past_was_cut(lengths, longest, data):
    scored = [data.draw(st.integers(0, length)) for length in lengths]
    tokens = make_tokens(lengths, scored=scored)
    pieces = crops(tokens, longest)
    ranges = zip(pieces.first + pieces.skip, pieces.first + pieces.length, strict=True)
    rows = [row for first, last in ranges for row in range(first, last)]
    cut = {
        start + at
        for start, length in zip(tokens.cu_seqlens, lengths, strict=False)
        for at in range(longest, length, longest)
    }
    assert sorted(rows) == sorted(set(tokens.unscored_rows().tolist()) - cut)
    assert pieces.length.max(initial=0) <= longest


def test_an_epoch_has_every_crop_once_within_the_budget_and_follows_its_seed():
    pieces = crops(make_tokens(list(range(1, 60))), 50)
    epochs = [list(shuffled_batches(pieces, 8, 128, np.random.default_rng(seed))) for seed in (1, 1, 2)]
    firsts = [[batch.first.tolist() for batch in epoch] for epoch in epochs]
    assert firsts[0] == firsts[1] != firsts[2]
    assert sorted(first for batch in firsts[2] for first in batch) == sorted(pieces.first.tolist())
    assert max(len(batch.first) * batch.length.max() for batch in epochs[2]) <= 128
