import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.model.tokens import END_TEMPLATE, template_id
from longwatch.model.vocabulary import Vocabulary, gap_bucket, hashed_words, shape_bucket
from support.windows import NOVEL, TEMPLATES, make_tokens

VOCABULARY = Vocabulary.of(TEMPLATES, word_buckets=512, max_words=8)


@given(st.permutations(TEMPLATES))
def test_classes_do_not_depend_on_the_order_templates_came_in(templates):
    assert Vocabulary.of(templates, 512, 8) == VOCABULARY


def test_end_of_window_is_always_known():
    assert END_TEMPLATE in VOCABULARY.templates
    assert VOCABULARY.classes_of(np.array([template_id(END_TEMPLATE)], np.uint64))[0] > 0


def test_each_known_template_has_its_own_class_and_others_have_0():
    ids = np.array([template_id(text) for text in (*VOCABULARY.templates, *NOVEL)], np.uint64)
    expected = [*range(1, VOCABULARY.num_classes), 0, 0]
    assert VOCABULARY.classes_of(ids).tolist() == expected


@given(st.lists(st.text(), max_size=10))
def test_vocabulary_survives_json(templates):
    vocabulary = Vocabulary.of([t for t in templates if t.isprintable()], 512, 8)
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_json_of_something_else_is_refused():
    with pytest.raises(ValueError, match="expected the keys templates"):
        Vocabulary.from_json("{}")


def test_words_hash_the_same_on_every_machine():
    # A change here makes every bundle in use wrong.
    assert hashed_words("disk <*> failed", 4096, 5) == [3129, 3819, 2636, 0, 0]


@given(st.text(max_size=200))
def test_every_template_has_a_word_and_all_are_in_range(text):
    words = hashed_words(text, 64, 6)
    assert len(words) == 6
    assert 1 <= words[0] < 64
    assert all(0 <= word < 64 for word in words)


def test_lexicon_gives_back_each_token():
    tokens = make_tokens([40, 0, 25], novel_share=0.3, end=True)
    lexicon = VOCABULARY.lexicon(tokens)
    texts = [tokens.templates[i] for i in tokens.template_id.tolist()]
    assert np.array_equal(lexicon.words[lexicon.rows], VOCABULARY.words_of(texts))
    assert np.array_equal(lexicon.known[lexicon.rows], lexicon.targets)
    assert {text for text, target in zip(texts, lexicon.targets, strict=True) if target == 0} == set(NOVEL)


def test_unseen_template_without_text_is_an_error_that_names_it():
    tokens = make_tokens([5])
    unknown = Vocabulary.of((), 512, 8)
    stripped = type(tokens)(**{**vars(tokens), "templates": {}})
    with pytest.raises(ValueError, match=r"came without text, first [0-9a-f]{16}; put the text"):
        unknown.lexicon(stripped)


def test_gap_buckets_are_powers_of_two_after_the_first_of_a_session():
    gaps = [-1, 0, 1, 2, 3, 4, 1023, 1024, 2**40]
    assert gap_bucket(gaps, 20).tolist() == [0, 1, 2, 3, 3, 4, 11, 12, 19]


def test_shape_buckets_are_powers_of_two():
    assert shape_bucket([0, 1, 2, 3, 4, 2**30], 10).tolist() == [0, 1, 2, 2, 3, 9]


@given(st.lists(st.integers(-1, 2**62), min_size=2))
def test_a_longer_gap_never_has_a_lower_bucket(gaps):
    buckets = gap_bucket(sorted(gaps), 34)
    assert (np.diff(buckets) >= 0).all()
    assert ((buckets == 0) == (np.sort(gaps) == -1)).all()
