import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.model.config import ModelConfig
from longwatch.model.scorer.batching import Batcher, ModelInputs, cut, padded_width, plan_batches
from longwatch.model.vocabulary import Vocabulary
from support.windows import TEMPLATES, make_tokens

CONFIG = ModelConfig(block_size=4)
VOCABULARY = Vocabulary.of(TEMPLATES, CONFIG.word_buckets, CONFIG.max_words)


@st.composite
def windows(draw):
    lengths = draw(st.lists(st.integers(0, 60), min_size=1, max_size=6))
    scored = [draw(st.integers(0, length)) for length in lengths]
    return make_tokens(lengths, scored=scored)


@given(windows(), st.none() | st.integers(1, 9), st.integers(1, 64))
def test_pieces_want_each_unscored_token_once_with_all_it_can_see(tokens, field, budget):
    pieces = cut(tokens, 4, field, budget)
    rows = []
    for first, length, skip in zip(pieces.first, pieces.length, pieces.skip, strict=True):
        window = np.searchsorted(tokens.cu_seqlens, first, side="right") - 1
        start, end = tokens.cu_seqlens[window : window + 2]
        assert first + length <= end
        assert (first - start) % 4 == 0
        seen = skip if first > start else np.inf
        assert seen >= (field if field is not None else np.inf)
        rows += range(first + skip, first + length)
    assert sorted(rows) == tokens.unscored_rows().tolist()


@given(windows(), st.integers(1, 9), st.integers(24, 64))
def test_pieces_stay_within_a_budget_that_holds_twice_the_receptive_field(tokens, field, budget):
    assert cut(tokens, 4, field, budget).length.max(initial=0) <= budget


@given(st.integers(1, 100_000), st.sampled_from([1, 16, 64]))
def test_padding_is_to_whole_blocks_and_wastes_less_than_half(length, block_size):
    width = padded_width(length, block_size)
    assert width % block_size == 0
    assert length <= width < 1.5 * length + 2 * block_size


def test_padded_widths_are_few():
    assert len({padded_width(length, 64) for length in range(1, 65_537)}) == 20


@given(windows(), st.integers(1, 200))
def test_batches_hold_each_piece_once_in_one_width_within_the_budget(tokens, budget):
    pieces = cut(tokens, 4, None, budget)
    batches = plan_batches(pieces, 4, budget)
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(pieces.first)))
    for numbers in batches:
        widths = {padded_width(int(n), 4) for n in pieces.length[numbers]}
        assert len(widths) == 1
        assert len(numbers) == 1 or len(numbers) * widths.pop() <= budget


@pytest.mark.parametrize("field", [None, 5])
def test_each_score_goes_back_to_its_token(field):
    tokens = make_tokens([3, 41, 8, 0, 19], scored=[0, 7, 8, 0, 1])
    batcher = Batcher(VOCABULARY, CONFIG, field, token_budget=16)
    # The packed row of a token stands in for its count of masked characters.
    rows = np.arange(len(tokens.template_id), dtype=np.int32)
    numbered = (
        dataclasses.replace(CONFIG, shape_buckets=100),
        dataclasses.replace(tokens, parameter_chars=1 << rows % 30),
    )
    batcher = dataclasses.replace(batcher, config=numbered[0])

    def run(inputs: ModelInputs) -> np.ndarray:
        return inputs.shape.astype(np.float32)

    expected = 1 + tokens.unscored_rows() % 30
    assert batcher.score(numbered[1], run).tolist() == expected.tolist()
