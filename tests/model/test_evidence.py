from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.model.dataset import select_windows
from longwatch.model.evidence import Evidence, count_vectors, nearest_l1, occurrences
from longwatch.model.tokens import END_TEMPLATE, WindowTokens, template_id
from support.windows import make_tokens


def tokens_of(*windows: str, scored: list[int] | None = None, later: bool = False) -> WindowTokens:
    """One window for each word, one event for each letter; `.` is END. later: the windows go on from earlier ones."""
    ids = [template_id(END_TEMPLATE if letter == "." else letter) for window in windows for letter in window]
    bounds = np.concatenate([[0], np.cumsum([len(window) for window in windows])]).astype(np.int32)
    gaps = np.full(len(ids), 5, np.int64)
    if not later:
        gaps[bounds[:-1][np.diff(bounds) > 0]] = -1
    shapes = np.zeros(len(ids), np.int32)
    return WindowTokens(
        np.array(ids, np.uint64), gaps, shapes, bounds, np.array(scored or [0] * len(windows), np.int32)
    )


def flagged(evidence: Evidence, tokens: WindowTokens) -> list[set[str]]:
    return [{evidence.names[k] for k in np.flatnonzero(row)} for row in evidence.flags(tokens)]


def test_windows_of_the_fit_split_have_no_flag():
    fit = make_tokens([5, 40, 17], end=True)
    assert not Evidence.fit(fit).flags(fit).any()


def test_a_new_template_is_flagged_at_its_event_and_its_ngrams_after_it():
    evidence = Evidence.fit(tokens_of("abab."))
    assert flagged(evidence, tokens_of("abxba")) == [
        set(),
        set(),
        {"unseen_template", "unseen_bigram", "unseen_trigram", "unseen_occurrence"},
        {"unseen_bigram", "unseen_trigram"},
        {"unseen_trigram"},
    ]


def test_known_events_in_a_new_order_are_flagged():
    evidence = Evidence.fit(tokens_of("abc", "bca"))
    assert flagged(evidence, tokens_of("ac"))[1] == {"unseen_bigram", "unseen_trigram"}


def test_a_start_is_judged_only_when_the_window_starts_a_session():
    evidence = Evidence.fit(tokens_of("ab"))
    assert flagged(evidence, tokens_of("b"))[0] == {"unseen_bigram", "unseen_trigram"}
    assert flagged(evidence, tokens_of("b", later=True))[0] == set()


def test_one_repeat_more_than_any_fit_window_had_is_flagged():
    evidence = Evidence.fit(tokens_of("aaa", "aba"))
    flags = flagged(evidence, tokens_of("aaaa"))
    assert [("unseen_occurrence" in row) for row in flags] == [False, False, False, True]


def test_counts_are_judged_at_the_end_and_graded_by_distance():
    evidence = Evidence.fit(tokens_of("a" * 10 + "b" * 5 + "."))
    levels = [
        {n for n in row if n.endswith("_counts")} for row in flagged(evidence, tokens_of("a" * 10 + "b" * 4 + "."))
    ]
    assert levels == [set()] * 14 + [{"unseen_counts"}]
    assert flagged(evidence, tokens_of("a" * 9 + "b" * 4 + "."))[-1] >= {"unseen_counts", "odd_counts"}
    assert flagged(evidence, tokens_of("a" * 5 + "b" * 5 + "."))[-1] >= {"strange_counts"}


def test_context_tokens_are_history_but_give_no_row():
    evidence = Evidence.fit(tokens_of("abc."))
    whole = evidence.flags(tokens_of("aabc."))
    assert np.array_equal(evidence.flags(tokens_of("aabc.", scored=[2])), whole[2:])


@given(st.lists(st.text("abc", max_size=12), min_size=1, max_size=5), st.data())
def test_flags_look_at_nothing_after_their_event(windows: list[str], data: st.DataObject):
    evidence = Evidence.fit(tokens_of("abcab.", "aab."))
    cuts = [data.draw(st.integers(0, len(window))) for window in windows]
    whole = evidence.flags(tokens_of(*windows))
    heads = evidence.flags(tokens_of(*(window[:cut] for window, cut in zip(windows, cuts, strict=True))))
    tails = evidence.flags(tokens_of(*windows, scored=cuts))
    starts = np.cumsum([0] + [len(window) for window in windows])[:-1]
    head_rows = [start + i for start, cut in zip(starts, cuts, strict=True) for i in range(cut)]
    assert np.array_equal(whole[head_rows], heads)
    assert np.array_equal(np.delete(whole, np.array(head_rows, int), axis=0), tails)


@given(st.permutations(range(4)))
def test_the_order_of_fit_windows_does_not_matter(order: list[int]):
    fit = make_tokens([7, 30, 12, 20], end=True)
    one, other = Evidence.fit(fit).to_arrays(), Evidence.fit(select_windows(fit, np.array(order))).to_arrays()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_arrays_bring_the_same_evidence_back():
    evidence = Evidence.fit(make_tokens([9, 14], end=True))
    tokens = make_tokens([30, 30], seed=5, novel_share=0.1, end=True)
    assert np.array_equal(Evidence.from_arrays(evidence.to_arrays()).flags(tokens), evidence.flags(tokens))


def test_evidence_of_nothing_flags_every_template():
    evidence = Evidence.fit(tokens_of())
    assert evidence.flags(tokens_of("ab."))[:, 0].all()
    assert evidence.flags(tokens_of("", "a")).shape == (1, len(evidence.names))


@given(st.lists(st.text("abcd", max_size=9), max_size=6))
def test_occurrences_count_from_the_window_start(windows: list[str]):
    expected = [window[: at + 1].count(letter) for window in windows for at, letter in enumerate(window)]
    assert occurrences(tokens_of(*windows)).tolist() == expected


def test_a_count_vector_leaves_end_out_and_gathers_the_unknown():
    tokens = tokens_of("abxay.", "b")
    known = np.sort(np.array([template_id("a"), template_id("b")], np.uint64))
    counts = count_vectors(tokens, np.array([1, 0]), known)
    a, b = (int(np.searchsorted(known, np.uint64(template_id(letter)))) for letter in "ab")
    assert counts[:, [a, b, 2]].tolist() == [[0, 1, 0], [2, 1, 2]]


def test_nearest_distance_equals_the_brute_force_one(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    counts, known = rng.integers(0, 9, (11, 4)), rng.integers(0, 9, (6, 4)).astype(np.int32)
    expected = [min(abs(row - other).sum() for other in known) for row in counts]
    monkeypatch.setattr("longwatch.model.evidence._CHUNK_CELLS", 50)
    assert nearest_l1(counts, known).tolist() == expected


def test_a_long_window_is_flagged_whole():
    tokens = make_tokens([65_536], end=True)
    evidence = Evidence.fit(tokens)
    assert not evidence.flags(tokens).any()
    assert evidence.flags(replace(tokens, scored=np.array([65_535], np.int32))).shape == (1, len(evidence.names))
