"""What every backend must hold to; a new backend joins by one line in BACKENDS."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from longwatch.model.bundle import WEIGHTS, Bundle
from longwatch.model.dataset import select_windows
from longwatch.model.scorer import Scorer, WindowTokens, open_scorer
from longwatch.model.scorer.batching import TokenColumns, cell_size, cut
from longwatch.model.tokens import END_TEMPLATE_ID, template_id
from longwatch.model.transformer import load_transformer
from support.windows import NOVEL, make_tokens, prefix

BACKENDS = ("torch", "onnx")
CLOSE = 1e-5
LENGTHS = [1, 130, 16, 0, 17, 700, 1, 64, 33, 250]

checked = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=BACKENDS)
def scorer(request: pytest.FixtureRequest, bundle: Bundle) -> Scorer:
    return open_scorer(bundle, request.param)


@pytest.fixture(scope="module")
def tokens() -> WindowTokens:
    return make_tokens(LENGTHS, seed=5, novel_share=0.05, end=True)


@pytest.fixture(scope="module")
def scores(scorer: Scorer, tokens: WindowTokens) -> NDArray[np.float32]:
    return scorer.score(tokens)


def rescored(tokens: WindowTokens, scored: list[int]) -> WindowTokens:
    return WindowTokens(**{**vars(tokens), "scored": np.array(scored, np.int32)})


def test_scores_are_one_float32_a_token_and_none_is_negative(scorer, tokens, scores):
    assert scorer.name in BACKENDS
    assert scores.dtype == np.float32
    assert scores.shape == (tokens.num_scores,)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


def test_scores_are_those_of_the_whole_window_run_at_once(bundle, tokens, scores):
    model = load_transformer(bundle.model_config, bundle.vocabulary.known_words, bundle.arrays(WEIGHTS))
    columns = TokenColumns.of(tokens, bundle.vocabulary, bundle.model_config)
    for window, length in enumerate(tokens.lengths):
        first, width = int(tokens.cu_seqlens[window]), -(-int(length) // 16) * 16
        rows = np.minimum(first + np.arange(width), len(columns.token) - 1)[None]
        grid = (columns.token, columns.gap, columns.shape)
        arrays = [column[rows] for column in grid]
        arrays += [columns.lexicon_words, columns.lexicon_known, columns.target[rows]]
        if length:
            whole = model(*map(torch.from_numpy, arrays)).numpy()[0, :length]
            assert np.abs(whole - scores[first : first + length]).max() < CLOSE


def test_scores_do_not_depend_on_the_other_windows(scorer, tokens, scores):
    for window in range(len(LENGTHS)):
        alone = scorer.score(select_windows(tokens, np.array([window])))
        first, last = tokens.cu_seqlens[window : window + 2]
        assert np.array_equal(alone, scores[first:last])


@checked
@given(order=st.permutations(range(len(LENGTHS))))
def test_scores_come_in_the_order_of_the_windows(scorer, tokens, scores, order):
    found = scorer.score(select_windows(tokens, np.array(order)))
    expected = np.concatenate([scores[tokens.cu_seqlens[w] : tokens.cu_seqlens[w + 1]] for w in order])
    assert np.array_equal(found, expected)


@checked
@given(data=st.data())
def test_tokens_scored_before_get_no_score_and_change_no_other(scorer, tokens, scores, data):
    scored = [data.draw(st.integers(0, length)) for length in LENGTHS]
    found = scorer.score(rescored(tokens, scored))
    rows = rescored(tokens, scored).unscored_rows()
    assert found.shape == rows.shape
    assert np.array_equal(found, scores[rows])


@checked
@given(cuts=st.lists(st.integers(1, 299), max_size=5, unique=True))
def test_scores_do_not_depend_on_how_a_window_came_in(scorer, cuts):
    whole = make_tokens([300], seed=8, novel_share=0.1)
    bounds = [0, *sorted(cuts), 300]
    steps = [scorer.score(prefix(whole, end, begin)) for begin, end in pairwise(bounds)]
    assert np.array_equal(np.concatenate(steps), scorer.score(whole))


def test_one_event_at_a_time_gives_the_scores_of_the_whole(scorer):
    whole = make_tokens([120], seed=4)
    steps = [scorer.score(prefix(whole, end, end - 1))[0] for end in range(1, 121)]
    assert np.array_equal(np.float32(steps), scorer.score(whole))


def test_nothing_to_score_gives_no_scores(scorer):
    for tokens in (make_tokens([]), make_tokens([0, 0]), make_tokens([5, 3], scored=[5, 3])):
        found = scorer.score(tokens)
        assert found.shape == (0,)
        assert found.dtype == np.float32


def test_the_first_token_of_a_window_is_scored_without_context(scorer):
    tokens = make_tokens([1] * 50, seed=2)
    found = scorer.score(tokens)
    for template in np.unique(tokens.template_id):
        assert np.ptp(found[tokens.template_id == template]) < CLOSE


def test_all_unseen_templates_have_one_surprise_in_one_context(scorer):
    tokens = make_tokens([40], seed=2)
    found = []
    for text in NOVEL:
        ids = tokens.template_id.copy()
        ids[-1] = template_id(text)
        found.append(scorer.score(WindowTokens(**{**vars(tokens), "template_id": ids}))[-1])
    assert abs(found[0] - found[1]) < CLOSE


def test_an_unseen_template_surprises_more_than_the_expected_one(scorer, tokens, scores):
    novel = np.isin(tokens.template_id, np.array([template_id(text) for text in NOVEL], np.uint64))
    assert np.median(scores[novel]) > 3 + np.median(scores[~novel])


def test_what_an_unseen_template_says_changes_what_follows(scorer):
    tokens = make_tokens([40], seed=2)
    found = []
    for text in NOVEL:
        ids = tokens.template_id.copy()
        ids[20] = template_id(text)
        found.append(scorer.score(WindowTokens(**{**vars(tokens), "template_id": ids})))
    assert np.allclose(found[0][:21], found[1][:21], atol=CLOSE, rtol=0)
    assert np.abs(found[0][21:] - found[1][21:]).max() > 1e-3


def test_the_end_of_a_window_is_a_token_like_others(scorer):
    open_window, ended = make_tokens([50], seed=3), make_tokens([50], seed=3, end=True)
    assert ended.template_id[-1] == END_TEMPLATE_ID
    before, after = scorer.score(open_window), scorer.score(ended)
    assert np.array_equal(before[:-1], after[:-1])
    assert np.isfinite(after[-1])


def test_backends_agree(bundle):
    tokens = make_tokens([1, 300, 64, 5000], seed=6, novel_share=0.02, scored=[0, 10, 0, 4000])
    found = [open_scorer(bundle, backend).score(tokens) for backend in BACKENDS]
    assert np.abs(found[0] - found[1]).max() < 1e-4


@pytest.mark.parametrize("length", [200, 5_000, 65_535, 65_536])
def test_the_newest_event_costs_at_most_a_cell_and_its_field_however_long_the_window(bundle, length):
    field = bundle.model_config.receptive_field
    pieces = cut(make_tokens([length], scored=[length - 1]), 16, field, 4096)
    assert pieces.length.tolist()[0] <= cell_size(16, field, 4096) + field + 16


def test_the_newest_event_of_a_long_window_has_the_score_of_the_whole_run(scorer):
    whole = make_tokens([65_536], seed=1)
    last = scorer.score(prefix(whole, 65_536, 65_535))
    assert np.allclose(last, scorer.score(prefix(whole, 65_536, 60_000))[-1:], atol=CLOSE, rtol=0)
