"""Floors that count what the past never held: events, pairs with their entity, n-grams, whole count vectors."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.method import Scoring
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.bench.units import Units
from longwatch.model.evidence import absent, count_vectors, frequent, mix, nearest_l1, ngram_keys
from longwatch.model.tokens import WindowTokens

STIDE_ORDER = 6  # Forrest's and Hofmeyr's; no order is chosen on labelled data


def unseen_event(fit: Units, tune: Units) -> Scoring:
    """Events of a kind that the past never held, counted as they come."""
    seen = np.unique(fit.joined(tune).windows.tokens.template_id)

    def score(units: Units) -> UnitScores:
        tokens = units.windows.tokens
        return running(absent(tokens.template_id[tokens.unscored_rows()], seen), tokens)

    return score


def first_pair(fit: Units, tune: Units) -> Scoring:
    """Pairs of kind and entity at their first sight, each counted once in all the time that follows."""
    seen = np.unique(_pairs(fit.joined(tune)))

    def score(units: Units) -> UnitScores:
        pairs = _pairs(units)
        new = np.zeros(len(pairs), dtype=np.bool_)
        new[np.unique(pairs, return_index=True)[1]] = True
        return running(new & absent(pairs, seen), units.windows.tokens)

    return score


def unseen_ngram(order: int) -> Callable[[Units, Units], Scoring]:
    """n-grams that the past never held: their count so far in a stream's window, their share of a whole trace."""

    def learn(fit: Units, tune: Units) -> Scoring:
        keys, known = _ngrams(fit.joined(tune).windows.tokens, order)
        seen = np.unique(keys[known])

        def score(units: Units) -> UnitScores:
            tokens = units.windows.tokens
            keys, known = _ngrams(tokens, order)
            counted = running(known & absent(keys, seen), tokens)
            if units.shape == "stream":
                return counted
            return UnitScores(counted.final / np.maximum(running(known, tokens).final, 1))

        return score

    return learn


def count_vector(fit: Units, tune: Units) -> Scoring:
    """Distance of a unit's counts to the nearest unit's of the past, over its length, when it is over."""
    past = fit.joined(tune)
    templates = np.unique(past.windows.tokens.template_id)
    known = frequent(_counts(past, templates)[:, :-1])

    def score(units: Units) -> UnitScores:
        counts = _counts(units, templates)
        nearest = nearest_l1(counts[:, :-1], known) + counts[:, -1]
        return UnitScores(nearest / np.maximum(counts.sum(axis=1), 1))

    return score


def running(values: NDArray[np.bool_] | NDArray[np.float64], tokens: WindowTokens) -> UnitScores:
    """Values of unscored tokens, none below 0, summed in each unit so far."""
    counts = (tokens.lengths - tokens.scored).astype(np.int64)
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.cumsum(counts)
    before = total[ends - counts]
    return UnitScores(total[ends] - before, total[1:] - np.repeat(before, counts))


def _pairs(units: Units) -> NDArray[np.uint64]:
    """Hash of kind and entity of each unscored token."""
    tokens = units.windows.tokens
    entity = np.repeat(units.entity, tokens.lengths - tokens.scored).astype(np.uint64)
    return mix(tokens.template_id[tokens.unscored_rows()] + mix(entity))


def _counts(units: Units, templates: NDArray[np.uint64]) -> NDArray[np.int64]:
    return count_vectors(units.windows.tokens, np.arange(len(units), dtype=np.int64), templates)


def _ngrams(tokens: WindowTokens, order: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    return ngram_keys(tokens, tokens.unscored_rows(), order)
