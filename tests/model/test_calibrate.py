from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from longwatch.model.calibrate import Calibration, advance
from longwatch.model.evidence import Evidence, Signs
from longwatch.model.tokens import WindowTokens
from support.windows import make_tokens

LENGTHS = [30] * 200
FLAG = {name: at for at, name in enumerate(Evidence.names)}


def held_out(seed: int = 0, lengths: list[int] = LENGTHS) -> tuple[NDArray, Signs, WindowTokens]:
    """Surprise with many ties, as a network gives on repeating windows, and rare flags; most windows ended."""
    rng = np.random.default_rng(seed)
    rows = sum(lengths)
    surprise = np.where(rng.random(rows) < 0.7, 0.05, rng.exponential(1.0, rows)).astype(np.float32)
    flags = rng.random((rows, len(Evidence.names))) < np.linspace(0, 0.004, len(Evidence.names))
    distance = np.full(rows, -1.0)
    ends = np.cumsum(lengths)[np.array(lengths) > 0] - 1  # every third window goes on
    distance[ends[np.arange(len(ends)) % 3 > 0]] = 0.0
    distance[ends[:40]] = rng.exponential(0.1, len(ends[:40]))
    return surprise, Signs(flags, distance), make_tokens(lengths)


CALIBRATION = Calibration.fit(*held_out(), days=2.0)


def quiet(rows: int) -> tuple[NDArray, NDArray]:
    return np.full(rows, 0.05, np.float32), np.zeros((rows, len(Evidence.names)), bool)


def score_at_once(surprise: NDArray, flags: NDArray | Signs, counts: list[int]) -> NDArray:
    signs = flags if isinstance(flags, Signs) else Signs(flags, np.full(len(flags), -1.0))
    states = np.stack([CALIBRATION.window_state()] * len(counts))
    return CALIBRATION.window_scores(states, surprise, signs, np.array(counts))[1]


def final(surprise: NDArray, flags: NDArray | Signs) -> float:
    return float(score_at_once(surprise, flags, [len(surprise)])[-1])


@given(st.floats(0, 60), st.floats(0, 60), st.lists(st.booleans(), min_size=7, max_size=7), st.integers(0, 6))
def test_event_score_never_falls_when_surprise_or_a_flag_rises(low: float, high: float, row: list[bool], more: int):
    pair = np.array(sorted([low, high]), np.float32)
    flags = np.array([row, row])
    before, after = CALIBRATION.event_score(pair, flags)
    assert before <= after
    flags[1, more] = True
    assert after <= CALIBRATION.event_score(pair, flags)[1] + 1e-12


def test_event_scores_stay_finite_and_order_what_no_normal_event_reached():
    scores = CALIBRATION.event_score(np.array([20, 40, 80, 1e30], np.float32), quiet(4)[1])
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 99), st.data())
def test_cutting_windows_into_polls_changes_no_bit(lengths: list[int], seed: int, data: st.DataObject):
    surprise, signs, _ = held_out(seed, lengths)
    whole = score_at_once(surprise, signs, lengths)
    cuts = np.array([data.draw(st.integers(0, length)) for length in lengths])
    starts = np.cumsum([0, *lengths])[:-1]
    states = np.stack([CALIBRATION.window_state()] * len(lengths))
    pieces = np.empty(len(whole))
    for firsts, counts in ((starts, cuts), (starts + cuts, np.array(lengths) - cuts)):
        rows = np.concatenate([np.arange(a, a + n) for a, n in zip(firsts, counts, strict=True)])
        states, pieces[rows] = CALIBRATION.window_scores(states, surprise[rows], signs.rows(rows), counts)
    assert np.array_equal(whole, pieces)


def test_many_windows_are_scored_as_each_alone(monkeypatch: pytest.MonkeyPatch):
    lengths = [3, 0, 8, 1, 5]
    surprise, signs, _ = held_out(4, lengths)
    together = score_at_once(surprise, signs, lengths)
    bounds = np.cumsum([0, *lengths])
    alone = [score_at_once(surprise[a:b], signs.rows(slice(a, b)), [b - a]) for a, b in pairwise(bounds)]
    monkeypatch.setattr("longwatch.model.calibrate._MAX_SEGMENTS", 2)
    split = score_at_once(surprise, signs, lengths)
    assert np.array_equal(together, np.concatenate(alone))
    assert np.array_equal(together, split)


@given(st.integers(0, 50))
def test_a_window_score_never_falls_as_events_come(seed: int):
    surprise, signs, _ = held_out(seed, [200])
    assert (np.diff(score_at_once(surprise, signs, [200])) >= 0).all()


def test_running_sums_equal_the_event_by_event_definition():
    rng = np.random.default_rng(1)
    levels, drift, unit = rng.exponential(0.5, (40, 2)), np.array([1 << 19]), 1 << 20
    total = highest = 0
    expected = []
    for level in levels[:, 1]:
        total = max(0, total + round(min(level, 2.0) * unit) - int(drift[0]))
        highest = max(highest, total)
        expected.append([total, highest])
    shown = (np.zeros(40, np.float32), Signs(np.zeros((40, len(Evidence.names)), bool), np.full(40, -1.0)))
    state = CALIBRATION.window_state()[None]
    history = advance(state, levels, np.array([40]), np.concatenate([drift, drift]), shown)[1]
    assert history[:, 2:4].tolist() == history[:, 4:6].tolist() == expected


def test_a_long_run_of_slightly_odd_events_adds_up():
    surprise, flags = quiet(600)
    surprise[::2] = 0.6
    odd = surprise.copy()
    odd[200:500] = 1.4
    assert final(odd, flags) > final(surprise, flags) + 2


def test_a_short_burst_does_not_drown_in_a_long_quiet_window():
    surprise, flags = quiet(65_536)
    surprise[60_000:60_004] = 12.0
    assert final(surprise, flags) == pytest.approx(final(*([a[59_990:60_010] for a in (surprise, flags)])), abs=1e-9)
    assert final(surprise, flags) > final(*quiet(65_536)) + 2


def test_content_evidence_adds_to_the_networks():
    surprise, flags = quiet(20)
    surprise[10] = 9.0
    flagged = flags.copy()
    flagged[15, FLAG["unseen_template"]] = True
    only_flag = final(quiet(20)[0], flagged)
    assert final(surprise, flagged) > max(final(surprise, flags), only_flag)


@pytest.mark.parametrize("name", Evidence.names[:4])
def test_a_flag_alone_is_worth_an_alert_when_normals_rarely_had_it(name: str):
    surprise, flags = quiet(30)
    flags[12, FLAG[name]] = True
    assert final(surprise, flags) > final(*quiet(30))


@pytest.mark.parametrize("name", ["unseen_template", "unseen_bigram"])
def test_many_unseen_events_or_pairs_are_odder_than_one(name: str):
    surprise, one = quiet(30)
    one[12, FLAG[name]] = True
    many = one.copy()
    many[12:20, FLAG[name]] = True
    assert final(surprise, many) > final(surprise, one) + 0.3


def test_counts_unlike_any_windows_show_when_the_window_ends_and_the_odder_the_more():
    surprise, flags = quiet(30)
    goes_on = np.full(30, -1.0)
    scores = [final(surprise, Signs(flags, np.append(goes_on[1:], distance))) for distance in (-1.0, 0.0, 0.6, 1.2)]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)
    assert scores[1] + 1 < scores[2] < scores[3]


def test_a_life_of_slightly_odd_events_is_odd_when_it_ends_however_short_it_was():
    surprise, flags = quiet(6)
    surprise[:] = 2.4
    ended = np.append(np.full(5, -1.0), 0.0)
    assert final(surprise, Signs(flags, ended)) > final(surprise, flags) + 0.5


def test_an_end_says_nothing_where_no_held_out_window_ended():
    surprise, signs, tokens = held_out()
    signs = Signs(signs.flags, np.full(len(surprise), -1.0))
    calibration = Calibration.fit(surprise, signs, tokens, days=2.0)
    state, row = calibration.window_state()[None], (quiet(1)[0], quiet(1)[1])
    found = [calibration.window_scores(state, row[0], Signs(row[1], np.array([d])), np.array([1]))[1] for d in (-1, 9)]
    assert found[0] == found[1]


def test_a_budget_costs_on_fresh_normals_what_it_says():
    surprise, signs, tokens = held_out(7, [30] * 4000)
    scores = CALIBRATION.final_scores(surprise, signs, tokens)
    threshold = CALIBRATION.threshold("window", false_alarms_per_day=5)
    assert CALIBRATION.expected_per_day("window", threshold) <= 5
    assert 0.2 * 5 <= np.sum(scores >= threshold) / 40 <= 2 * 5


def test_a_rarer_budget_never_has_a_lower_threshold():
    budgets = np.geomspace(1e-4, 200, 60)
    for kind in ("event", "window"):
        thresholds = [CALIBRATION.threshold(kind, false_alarms_per_day=budget) for budget in budgets]
        assert (np.diff(thresholds) <= 0).all()
        expected = [CALIBRATION.expected_per_day(kind, threshold) for threshold in thresholds]
        assert all(cost <= budget * (1 + 1e-6) for cost, budget in zip(expected, budgets, strict=True))


@pytest.mark.parametrize("budget", [0.5, 3, 8, 25])
def test_float_noise_decides_no_held_out_window(budget: float):
    surprise, signs, tokens = held_out()
    threshold = CALIBRATION.threshold("window", false_alarms_per_day=budget)
    alerts = CALIBRATION.final_scores(surprise, signs, tokens) >= threshold
    for seed in range(5):
        noise = np.random.default_rng(seed).uniform(-1e-5, 1e-5, len(surprise)).astype(np.float32)
        assert np.array_equal(CALIBRATION.final_scores(surprise + noise, signs, tokens) >= threshold, alerts)


def test_arrays_bring_the_same_calibration_back():
    again = Calibration.from_arrays(CALIBRATION.to_arrays())
    surprise, signs, tokens = held_out(3)
    assert np.array_equal(
        again.final_scores(surprise, signs, tokens), CALIBRATION.final_scores(surprise, signs, tokens)
    )
    assert again.threshold("event", quantile=0.999) == CALIBRATION.threshold("event", quantile=0.999)


def test_context_tokens_count_for_no_score():
    surprise, signs, _ = held_out(2, [20, 20])
    tokens = make_tokens([20, 20], scored=[5, 20])
    scores = CALIBRATION.final_scores(surprise[:15], signs.rows(slice(15)), tokens)
    assert scores[0] == final(surprise[:15], signs.rows(slice(15)))
    assert scores[1] <= scores[0]


def test_a_threshold_is_asked_for_in_exactly_one_way():
    with pytest.raises(ValueError, match="takes one of"):
        CALIBRATION.threshold("window", quantile=0.9, score=3.0)
    with pytest.raises(ValueError, match="takes one of"):
        CALIBRATION.threshold("event")
    assert CALIBRATION.threshold("event", score=3.5) == 3.5


def test_fitting_on_nothing_or_no_time_says_what_is_wanted():
    surprise, signs, tokens = held_out()
    with pytest.raises(ValueError, match="score the held-out windows first"):
        Calibration.fit(surprise[:-1], signs, tokens, days=1)
    with pytest.raises(ValueError, match="the time that the held-out windows span"):
        Calibration.fit(surprise, signs, tokens, days=0)


def test_one_held_out_window_is_enough_to_calibrate():
    surprise, signs, tokens = held_out(0, [5])
    tiny = Calibration.fit(surprise, signs, tokens, days=1)
    assert np.isfinite(tiny.threshold("window", false_alarms_per_day=0.01))
