import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.model.tail import Normals, Tail, tail_scale

VALUES = st.lists(st.floats(0, 50).map(lambda value: round(value, 2)), min_size=1, max_size=60)


@given(VALUES, st.floats(-5, 100), st.floats(0, 20))
def test_a_level_never_falls_as_the_value_rises(values: list[float], value: float, more: float):
    tail = Tail.fit(np.array(values), resolution=0.05, least_scale=1.0)
    low, high = tail(np.array([value, value + more]))
    assert 0 <= low <= high


def test_levels_are_the_share_of_normals_at_or_above():
    values = np.arange(1, 1000) / 10
    tail = Tail.fit(values, resolution=0.01, least_scale=0.1)
    assert 10 ** -tail(np.array([10.0, 50.0, 99.0])) == pytest.approx([0.901, 0.501, 0.011], rel=0.05)


def test_the_tail_goes_on_where_an_exponential_would():
    values = np.random.default_rng(0).exponential(2.0, 20_000)
    levels = Tail.fit(values, resolution=0.01, least_scale=0.1)(np.array([30.0, 60.0]))
    assert levels * np.log(10) == pytest.approx([15, 30], rel=0.15)


def test_without_extrapolation_nothing_is_rarer_than_the_sample_shows():
    tail = Tail.fit(np.zeros(99), resolution=0.05, least_scale=1.0, extrapolate=False)
    assert tail(np.array([0.0, 0.5, 50.0])) == pytest.approx([0, 0.5 / np.log(10), 2])


def test_small_noise_moves_a_level_little_even_inside_a_dense_cluster():
    values = np.concatenate([np.random.default_rng(0).uniform(0, 1e-3, 9_000), np.linspace(0.02, 3, 1_000)])
    tail = Tail.fit(values, resolution=0.01, least_scale=1.0)
    grid = np.linspace(0, 5, 5_000)
    assert np.abs(tail(grid + 1e-5) - tail(grid)).max() < 2e-3


def test_one_normal_above_many_ties_does_not_make_a_little_more_immensely_rare():
    normals = np.zeros(300)
    normals[7] = 0.13
    assert tail_scale(np.sort(normals)) == pytest.approx(0.13)
    assert 2.4 < Tail.part(normals)(np.array([0.5]))[0] < 3.5


@given(VALUES, st.floats(0, 100), st.floats(0, 20))
def test_a_parts_level_never_falls_stays_finite_and_ends_in_a_heavy_tail(
    values: list[float], value: float, more: float
):
    tail = Tail.part(np.array(values))
    low, high = tail(np.array([value, value + more]))
    assert 0 <= low <= high
    highest = tail.knots[-1]
    within, far, twice = tail(np.array([highest, highest + 1e3, highest + 2e3]))
    assert twice - far < far - within


def test_a_silent_part_says_nothing_whatever_the_value():
    assert Tail.silent()(np.array([-1.0, 0.0, 1e9])).tolist() == [0, 0, 0]


def test_arrays_bring_a_heavy_tail_back():
    tail = Tail.part(np.random.default_rng(0).exponential(2.0, 500))
    values = np.linspace(0, 100, 50)
    assert np.array_equal(Tail.from_arrays("x", tail.to_arrays("x"))(values), tail(values))


@given(VALUES, st.floats(0.01, 6))
def test_value_is_the_inverse_of_level(values: list[float], level: float):
    tail = Tail.fit(np.array(values), resolution=0.05, least_scale=1.0)
    assert tail(np.array([tail.value(level)]))[0] == pytest.approx(level, abs=1e-9)


@given(VALUES, st.floats(1e-6, 0.99))
def test_a_threshold_keeps_to_its_share_and_equals_no_normal(values: list[float], share: float):
    scores = np.array(values)
    threshold = Normals.fit(scores, days=1.0).threshold(share)
    least = 1 / (1 + len(scores))
    assert (1 + np.sum(scores >= threshold)) / (1 + len(scores)) <= max(share, least) * (1 + 1e-6)
    assert np.abs(scores - threshold).min() >= 0.004


def test_a_threshold_takes_the_widest_gap_near_its_share():
    scores = np.arange(100.0)
    scores[92:] += 1
    assert Normals.fit(scores, days=1.0).threshold(11.5 / 101) == 92
    assert Normals.fit(scores, days=1.0).threshold(31.5 / 101) == 69.5


def test_a_dense_sample_leaves_a_threshold_near_its_share():
    scores = np.random.default_rng(0).exponential(1.0, 10_000)
    threshold = Normals.fit(scores, days=1.0).threshold(0.5)
    assert 0.4 <= np.mean(scores >= threshold) <= 0.5


def test_a_rate_is_one_more_than_was_seen_and_then_the_tails():
    normals = Normals.fit(np.linspace(0, 3, 99), days=1.0)
    assert normals.rate(2.99) == pytest.approx(2 / 100)
    beyond = [normals.rate(value) for value in (3.0, 3.5, 4.0, 9.0)]
    assert (np.diff(beyond) < 0).all()
    assert beyond[-1] > 0


def test_only_the_highest_normals_are_kept_and_the_rest_is_the_tails(monkeypatch: pytest.MonkeyPatch):
    scores = np.random.default_rng(0).exponential(1.0, 5_000)
    whole = Normals.fit(scores, days=1.0)
    monkeypatch.setattr("longwatch.model.tail.NORMALS_KEPT", 100)
    kept = Normals.fit(scores, days=1.0)
    assert len(kept.scores) == 100
    assert kept.threshold(0.01) == whole.threshold(0.01)
    assert np.mean(scores >= kept.threshold(0.5)) == pytest.approx(0.5, abs=0.03)
    assert kept.rate(0.7) == pytest.approx(whole.rate(0.7), rel=0.1)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_a_share_must_be_above_nothing(share: float):
    with pytest.raises(ValueError, match="must be above 0"):
        Normals.fit(np.ones(3), days=1.0).threshold(share)


def test_arrays_bring_the_same_normals_back():
    normals = Normals.fit(np.linspace(0, 4, 50), days=0.5)
    again = Normals.from_arrays("windows", normals.to_arrays("windows"))
    assert (again.total, again.days, again.threshold(0.01)) == (50, 0.5, normals.threshold(0.01))
