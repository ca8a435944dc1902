"""An n-gram model with Witten-Bell smoothing (Witten and Bell 1991, method C), its order chosen on normal data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.method import Scoring
from longwatch.model.bench.surprise import peak_scores, surprise_scores
from longwatch.model.bench.units import Units
from longwatch.model.evidence import mix
from longwatch.model.tokens import WindowTokens, template_id

ORDERS = (1, 2, 3, 4, 5, 6, 8, 10, 12)
_START_ID = np.uint64(template_id("<start of session>"))


def witten_bell(fit: Units, tune: Units) -> Scoring:
    """What the events of a unit surprise together."""
    surprise = _surprise(fit, tune)
    return lambda units: surprise_scores(surprise(units), units)


def witten_bell_peak(fit: Units, tune: Units) -> Scoring:
    """What the oddest event of a unit surprises."""
    surprise = _surprise(fit, tune)
    return lambda units: peak_scores(surprise(units), units)


def _surprise(fit: Units, tune: Units) -> Callable[[Units], NDArray[np.float64]]:
    """Surprise under the order that surprises `tune` least when only `fit` is counted; then both are counted."""
    means = WittenBell.fit(fit.windows.tokens, max(ORDERS)).surprise(tune.windows.tokens, max(ORDERS)).mean(axis=0)
    order = min(ORDERS, key=lambda each: float(means[each - 1]))
    model = WittenBell.fit(fit.joined(tune).windows.tokens, order)
    return lambda units: model.surprise(units.windows.tokens, order)[:, -1]


@dataclass(frozen=True)
class Counts:
    """n-grams of one length: sorted keys with how often each came, sorted contexts with how often and how varied."""

    keys: NDArray[np.uint64]
    times: NDArray[np.int64]
    contexts: NDArray[np.uint64]
    context_times: NDArray[np.int64]
    context_kinds: NDArray[np.int64]

    @classmethod
    def of(cls, contexts: NDArray[np.uint64], keys: NDArray[np.uint64]) -> Self:
        """Counts of the n-grams that end at each of many tokens."""
        distinct, first, times = np.unique(keys, return_index=True, return_counts=True)
        known, context_times = np.unique(contexts, return_counts=True)
        kinds = np.bincount(np.searchsorted(known, contexts[first]), minlength=len(known))
        return cls(distinct, times, known, context_times, kinds)


@dataclass(frozen=True)
class WittenBell:
    """P_n(w | h) = (c(hw) + T(h) P_{n-1}(w | h')) / (c(h) + T(h)); kinds never seen share one place more."""

    counts: tuple[Counts, ...]
    kinds: int

    @classmethod
    def fit(cls, tokens: WindowTokens, order: int) -> Self:
        """Counts every unscored token under each context of up to `order` - 1 tokens before it."""
        counts = []
        for size in range(1, order + 1):
            contexts, keys, known = _grams(tokens, size)
            counts.append(Counts.of(contexts[known], keys[known]))
        return cls(tuple(counts), len(np.unique(tokens.template_id)))

    def surprise(self, tokens: WindowTokens, order: int) -> NDArray[np.float64]:
        """-log P of each unscored token under every order up to `order`, nats, float64 [M, order]."""
        lower = np.full(tokens.num_scores, 1 / (self.kinds + 1))
        surprise = np.empty((len(lower), order))
        for size, counts in enumerate(self.counts[:order], 1):
            contexts, keys, known = _grams(tokens, size)
            times = _found(counts.keys, counts.times, keys)
            context_times = _found(counts.contexts, counts.context_times, contexts)
            kinds = _found(counts.contexts, counts.context_kinds, contexts)
            higher = (times + kinds * lower) / np.maximum(context_times + kinds, 1)
            lower = np.where(known & (context_times > 0), higher, lower)
            surprise[:, size - 1] = -np.log(lower)
        return surprise


def _grams(tokens: WindowTokens, size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
    """Key of the `size` - 1 tokens before each unscored token, key with itself, and whether all of them are known."""
    rows = tokens.unscored_rows()
    starts = np.repeat(tokens.cu_seqlens[:-1].astype(np.int64), tokens.lengths)[rows]
    context = np.zeros(len(rows), dtype=np.uint64)
    for lag in range(size - 1, 0, -1):
        inside = rows - starts >= lag
        context = mix(context + np.where(inside, tokens.template_id[np.maximum(rows - lag, 0)], _START_ID))
    known = (rows - starts >= size - 1) | (tokens.gap_ms[starts] < 0)
    return context, mix(context + tokens.template_id[rows]), known


def _found(keys: NDArray[np.uint64], values: NDArray[np.int64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The value of each wanted key, 0 where it is missing."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
