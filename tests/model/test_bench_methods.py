"""Floors: what each counts, and that nothing of the units to be judged is learned."""

from dataclasses import replace

import numpy as np
import pytest

from longwatch.model.bench.case import Case
from longwatch.model.bench.combined import CONTENT, SEQUENCE, combinations
from longwatch.model.bench.effort import Effort
from longwatch.model.bench.floors import all_methods
from longwatch.model.bench.method import PartScores
from longwatch.model.bench.run import judge_set
from longwatch.model.bench.surprise import peak_scores
from longwatch.model.bench.truth import SealedTruth, Truth
from longwatch.model.bench.units import Units
from longwatch.model.bench.witten_bell import WittenBell
from longwatch.model.combine import Combination, Conformal
from longwatch.model.dataset import Windows
from longwatch.model.tokens import WindowTokens, template_id

MINUTE = 60_000


def units(*windows: str, entity: str = "", shape: str = "stream", timed: bool = True, start: int = 0) -> Units:
    """A letter an event, a second apart; window k begins at minute `start` + k."""
    text = "".join(windows)
    bounds = np.concatenate([[0], np.cumsum([len(window) for window in windows])]).astype(np.int32)
    gaps = np.full(len(text), 1000, np.int64)
    gaps[bounds[:-1]] = -1
    ids = np.array([template_id(letter) for letter in text], np.uint64)
    none = np.zeros(len(windows), np.int32)
    texts = {template_id(letter): letter for letter in set(text)}
    tokens = WindowTokens(ids, gaps, np.zeros(len(text), np.int32), bounds, none, texts)
    first = (start + np.arange(len(windows), dtype=np.int64)) * MINUTE
    last = first + 1000 * (np.diff(bounds).astype(np.int64) - 1)
    whose = np.array([ord(letter) for letter in entity or "e" * len(windows)], np.int64)
    return Units(Windows(tokens, first, last), whose, shape, timed)


NORMAL = ["abcabc", "abcab", "bcabca", "cabcab"]


def scores_of(name: str, test: Units, past: Units | None = None, seed: int = 0) -> np.ndarray:
    past = past or units(*NORMAL * 10)
    case = Case("case", past, test, SealedTruth(None))
    method = next(each for each in all_methods(Effort(), networks=False) if each.name == name)
    return PartScores.of(method, case.past(seed), case.test, seed).test.final


def test_unseen_events_are_counted():
    assert scores_of("unseen event", units("abc", "axby", "x", start=100)).tolist() == [0, 2, 1]


def test_a_pair_with_its_entity_counts_at_first_sight_only():
    past = units(*NORMAL * 10, entity="pq" * 20)
    later = units("ab", "ab", "xa", "xa", entity="prqq", start=100)
    assert scores_of("first pair", later, past).tolist() == [0, 2, 1, 0]


def test_unseen_pairs_are_counted_in_a_stream():
    assert scores_of("unseen 2-gram", units("abc", "acb", start=100)).tolist() == [0, 2]


def test_stide_is_a_share_of_a_trace():
    past = units(*NORMAL * 10, shape="trace", timed=False)
    found = scores_of("STIDE 6-gram", units("abcabc", "abcabb", shape="trace", timed=False), past)
    assert found.tolist() == [0, pytest.approx(1 / 6)]


@pytest.mark.parametrize("name", ["count vector", "KNN", "isolation forest", "Witten-Bell", "Witten-Bell peak"])
def test_other_events_score_above_the_usual(name):
    found = scores_of(name, units("abcabc", "xxyyxx", start=100))
    assert found[1] > found[0]


def test_one_odd_event_does_not_drown_among_many_ordinary_ones():
    quiet, short, long = scores_of("Witten-Bell peak", units("abc" * 30, "abxabc", "abxabc" + "abc" * 30, start=100))
    assert quiet < short == long


def test_a_peak_so_far_never_falls_and_ends_as_the_final_one():
    test = units("abcabc", "", "xyabcz", "axbabc", start=100)
    found = peak_scores(np.random.default_rng(0).exponential(size=18), test)
    parts = np.split(found.so_far, [6, 6, 12])
    assert all((np.diff(part) >= 0).all() for part in parts)
    assert found.final.tolist() == [part[-1] if len(part) else 0 for part in parts]


def test_witten_bell_probabilities_sum_to_one():
    past = units("abacab", "abcaab").windows.tokens
    model = WittenBell.fit(past, 3)
    after = [model.surprise(units(f"ab{letter}").windows.tokens, 3)[-1] for letter in "abcx"]
    assert np.exp(-np.array(after)).sum(axis=0) == pytest.approx([1, 1, 1])


def test_a_combination_never_falls_when_a_part_rises():
    draw = np.random.default_rng(0)
    combination = Combination.fit(lines_of(draw.exponential(size=(200, 4))))
    scores = draw.exponential(size=(500, 4)) * 3
    raised = scores + draw.exponential(size=(500, 4)) * (draw.random((500, 4)) < 0.3)
    assert (combination(lines_of(raised)) >= combination(lines_of(scores))).all()


def test_lines_that_agree_count_more_than_parts_of_one_line_that_do():
    draw = np.random.default_rng(0)
    normal = draw.exponential(size=(200, 4))
    odd = np.array([[9.0, 9, 9, 0], [9, 0, 0, 9]])
    one_line, two_lines = Combination.fit(lines_of(normal))(lines_of(odd))
    assert two_lines > one_line + 1


def test_far_beyond_all_normals_twice_as_far_says_less_than_twice_as_much():
    part = Conformal.fit(np.random.default_rng(0).exponential(size=1000))
    within, far, twice = part.level(np.array([part.normals[-1], part.normals[-1] + 50, part.normals[-1] + 100]))
    assert 0 < twice - far < (far - within) / 2


def lines_of(columns: np.ndarray) -> list[np.ndarray]:
    """Three parts of one line, and one of another."""
    return [columns[:, :3], columns[:, 3:]]


def test_a_combination_is_left_out_where_a_part_is_missing():
    part = PartScores.of(all_methods(Effort(), networks=False)[0], case_of().past(0), case_of().test, 0)
    assert combinations({"unseen event": part}) == {}
    assert set(combinations(dict.fromkeys((*SEQUENCE, *CONTENT), part))) == {"longwatch cheap"}


def test_a_part_that_was_not_judged_forward_in_time_lends_the_combination_its_calibration_units():
    part = PartScores.of(all_methods(Effort(), networks=False)[0], case_of().past(0), case_of().test, 0)
    network = replace(part, later=part.normal, later_days=part.normal_days)
    assert len(part.later.final) != len(part.normal.final)
    found = combinations({**dict.fromkeys((*SEQUENCE, *CONTENT), part), "network": network})
    assert len(found["longwatch"].later.final) == len(part.normal.final)
    assert len(found["longwatch cheap"].later.final) == len(part.later.final)


def case_of(anomalous: str = "xxyyzz", labelled: bool = True) -> Case:
    """Twenty later windows, the last two wrong."""
    test = units(*(NORMAL * 5)[:18], anomalous, anomalous, start=200)
    wrong = np.zeros(20, bool)
    wrong[18:] = True
    onset = test.windows.tokens.cu_seqlens[18:20].astype(np.int64)
    truth = Truth(wrong, np.array([0, 1]), np.array([18, 19]), onset, ("first", "second"))
    return Case("case", units(*NORMAL * 25), test, SealedTruth(truth if labelled else None))


def silent(_text: str) -> None:
    """No progress."""


def test_the_same_run_twice_gives_the_same_scores():
    first, second = (judge_set([case_of()], all_methods(Effort(), networks=False), 2, silent) for _ in range(2))
    for key, frozen in first.frozen["case"].items():
        assert np.array_equal(frozen.scores.final, second.frozen["case"][key].scores.final), key


def test_what_is_plainly_wrong_is_caught_and_beats_chance():
    result = judge_set([case_of()], all_methods(Effort(), networks=False), 2, silent)
    assert result.verdict.signal is True
    best = next(line for line in result.lines if line.method == "unseen event")
    assert best.ranking.average_precision == 1
    assert best.alarms[0].caught == 2
    assert best.alarms[0].delay_events == np.ceil(best.alarms[0].threshold)


def test_wrong_units_that_look_normal_give_no_signal():
    result = judge_set([case_of("abcabc")], all_methods(Effort(), networks=False), 2, silent)
    assert result.verdict.signal is False


def test_scores_do_not_hang_on_labels():
    methods = all_methods(Effort(), networks=False)
    with_labels, without = (judge_set([case_of(labelled=each)], methods, 1, silent) for each in (True, False))
    for key, frozen in with_labels.frozen["case"].items():
        other = without.frozen["case"][key]
        assert np.array_equal(frozen.scores.final, other.scores.final)
        assert [each.value for each in frozen.thresholds] == [each.value for each in other.thresholds]
    assert without.verdict.signal is None


def test_networks_learn_order_that_counts_cannot_see():
    case = Case(
        "case", units(*["abcdabcd", "cdabcdab"] * 20), units("abcdabcd", "dcbadcba", start=200), SealedTruth(None)
    )
    for method in all_methods(Effort(steps=40, tokens_per_batch=128, device="cpu"))[-3:]:
        found = PartScores.of(method, case.past(0), case.test, 0).test.final
        assert found[1] > found[0], method.name
