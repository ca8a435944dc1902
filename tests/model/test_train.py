import dataclasses

import numpy as np
import pytest

from longwatch.model.export import random_inputs
from longwatch.model.tokens import END_TEMPLATE
from longwatch.model.train import train, with_unseen
from longwatch.model.transformer import load_transformer
from support.bundles import QUICK, TINY, train_tiny
from support.windows import TEMPLATES, make_tokens


@pytest.fixture(scope="module")
def trained():
    return train_tiny()


def test_the_grammar_is_learned(trained):
    uniform = np.log(trained.vocabulary.num_classes)
    assert trained.history[0][2] > trained.history[-1][2]
    assert trained.validation_nll < uniform / 2


def test_vocabulary_is_what_the_fit_windows_held(trained):
    assert set(trained.vocabulary.templates) == {*TEMPLATES, END_TEMPLATE}


def test_equal_arguments_give_equal_weights(trained):
    again = train_tiny()
    assert again.history == trained.history
    assert all(np.array_equal(again.weights[name], array) for name, array in trained.weights.items())


def test_another_seed_gives_other_weights(trained):
    other = train_tiny(settings=dataclasses.replace(QUICK, seed=1, max_steps=20))
    assert other.history[0] != trained.history[0]


def test_progress_is_told_at_each_validation():
    told = []
    tokens = make_tokens([30] * 20)
    settings = dataclasses.replace(QUICK, max_steps=12, max_epochs=99, validation_every=5)
    trained = train(TINY, settings, tokens, tokens, tokens.templates, lambda *row: told.append(row))
    assert [(step, total) for step, total, _, _ in told] == [(5, 12), (10, 12), (12, 12)]
    assert tuple((step, fit, held_out) for step, _, fit, held_out in told) == trained.history


def test_training_stops_when_validation_gains_no_more_and_keeps_the_best():
    fit, other = make_tokens([40] * 10, seed=1), make_tokens([40] * 10, seed=9, novel_share=0.9)
    settings = dataclasses.replace(QUICK, max_steps=200, max_epochs=999, validation_every=5, patience=2)
    trained = train(TINY, settings, fit, other, fit.templates)
    held_out = [nll for _, _, nll in trained.history]
    best = int(np.argmin(held_out))
    assert trained.history[-1][0] < 200
    assert len(held_out) - 1 - best == 2
    assert trained.validation_nll == held_out[best]


def test_epochs_bound_the_steps():
    tokens = make_tokens([60] * 16)
    trained = train(TINY, dataclasses.replace(QUICK, max_epochs=2), tokens, tokens, tokens.templates)
    assert trained.history[-1][0] == 2


def test_windows_over_the_maximum_are_cropped():
    tokens = make_tokens([300, 20])
    settings = dataclasses.replace(QUICK, max_steps=2, max_window_tokens=32, tokens_per_batch=64)
    trained = train(TINY, settings, tokens, tokens, tokens.templates)
    assert np.isfinite(trained.validation_nll)


def test_nothing_to_learn_from_is_an_error():
    tokens = make_tokens([0, 3], scored=[0, 3])
    with pytest.raises(ValueError, match="expected windows with events to learn from, found none"):
        train(TINY, QUICK, tokens, tokens, tokens.templates)


def test_unseen_tokens_are_read_by_words_alone_and_rare_targets_are_unk():
    inputs = random_inputs(TINY, 3, (8, 8, 5), seed=0)
    counts = np.array([0, 1, 10**9])
    changed = with_unseen(inputs, counts, 0.25, np.random.default_rng(0))
    by_words = changed.token != inputs.token
    assert 0.2 < by_words.mean() < 0.3
    assert (changed.lexicon_known[changed.token[by_words]] == 0).all()
    assert np.array_equal(changed.lexicon_words[changed.token], inputs.lexicon_words[inputs.token])
    once, often = inputs.target == 1, inputs.target == 2
    assert 0.4 < (changed.target[once] == 0).mean() < 0.6
    assert (changed.target[often] == 2).all()


def test_weights_load_into_the_network(trained):
    model = load_transformer(trained.config, trained.vocabulary.known_words, trained.weights)
    assert not model.training
