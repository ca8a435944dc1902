"""The Triton scorer, in the interpreter: the network's scores, and the same bits whatever they are packed with."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from longwatch.model.bundle import Bundle, write_bundle
from longwatch.model.dataset import select_windows
from longwatch.model.scorer import ScorerUnavailableError, WindowTokens, open_scorer
from longwatch.model.scorer.batching import cut
from longwatch.model.scorer.torch import TorchScorer
from longwatch.model.scorer.triton import TritonScorer, packed_batches, packed_rows
from support.bundles import QUICK, TINY, make_parts, train_tiny
from support.windows import make_tokens, prefix

LENGTHS = [1, 50, 0, 9, 1]

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="asks for the interpreter; ops/gpu_checks has a GPU")


@pytest.fixture(scope="module")
def scorer(bundle: Bundle) -> TritonScorer:
    return TritonScorer(bundle, token_budget=64)


@pytest.fixture(scope="module")
def tokens() -> WindowTokens:
    return make_tokens(LENGTHS, seed=5, novel_share=0.05, end=True)


@pytest.fixture(scope="module")
def scores(scorer: TritonScorer, tokens: WindowTokens) -> NDArray[np.float32]:
    return scorer.score(tokens)


def test_scores_are_those_of_torch_up_to_the_rounding_of_weights(bundle, tokens, scores):
    expected = TorchScorer(bundle).score(tokens)
    assert scores.dtype == np.float32
    assert np.abs(scores - expected).max() < 0.02
    assert np.corrcoef(scores, expected)[0, 1] > 0.9999


def test_scores_in_float32_are_torchs(bundle, tokens):
    exact = TritonScorer(bundle, dtype=torch.float32).score(tokens)
    assert np.abs(exact - TorchScorer(bundle).score(tokens)).max() < 1e-4


def test_a_windows_scores_have_the_same_bits_alone_and_among_others(scorer, tokens, scores):
    for window in (1, 3):
        alone = scorer.score(select_windows(tokens, np.array([window])))
        first, last = tokens.cu_seqlens[window : window + 2]
        assert np.array_equal(alone, scores[first:last])


def test_a_window_that_came_in_parts_has_the_scores_of_the_whole(scorer, tokens, scores):
    first, last = tokens.cu_seqlens[1:3]
    bounds = [0, 1, 40, int(last - first)]
    alone = select_windows(tokens, np.array([1]))
    steps = [scorer.score(prefix(alone, end, begin)) for begin, end in pairwise(bounds)]
    assert np.array_equal(np.concatenate(steps), scores[first:last])


def test_nothing_to_score_gives_no_scores(scorer):
    assert scorer.score(make_tokens([5], scored=[5])).shape == (0,)


@pytest.mark.parametrize("budget", [1, 64, 10_000])
def test_pieces_are_packed_whole_once_and_within_the_budget(budget):
    some = make_tokens([100, 0, 1, 300, 7], scored=[3, 0, 0, 290, 0])
    pieces = cut(some, 8, 24, 256)
    batches = list(packed_batches(pieces, budget))
    assert np.concatenate([batch.first for batch in batches]).tolist() == pieces.first.tolist()
    assert all(len(batch.first) == 1 or batch.length.sum() <= budget for batch in batches)
    packed = [packed_rows(batch) for batch in batches]
    wanted = np.concatenate([rows[which] for rows, _, which in packed])
    assert wanted.tolist() == make_tokens([100, 0, 1, 300, 7], scored=[3, 0, 0, 290, 0]).unscored_rows().tolist()
    assert all(
        np.diff(bounds).tolist() == batch.length.tolist() for batch, (_, bounds, _) in zip(batches, packed, strict=True)
    )


def test_heads_that_the_kernels_do_not_take_are_refused_with_advice(tmp_path):
    narrow = replace(TINY, d_model=16)
    parts = make_parts(train_tiny(narrow, replace(QUICK, max_steps=1)), b"")
    bundle = write_bundle(tmp_path / "narrow", parts, "2026-01-01T00:00:00Z")
    with pytest.raises(ScorerUnavailableError, match="8 wide, expected one of 16, 32, 64, 128; use backend torch"):
        open_scorer(bundle, "triton")


def test_without_a_gpu_it_is_refused_with_advice(bundle, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(ScorerUnavailableError, match="no CUDA device here; use backend onnx or torch"):
        open_scorer(bundle, "triton")


def test_the_cpu_is_refused_for_it(bundle):
    with pytest.raises(ScorerUnavailableError, match="not with device: cpu"):
        open_scorer(bundle, "triton", device="cpu")
