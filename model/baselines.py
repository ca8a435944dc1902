"""The floors to print beside the network: three ways of counting what the training windows never held."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from longwatch.model.evidence import Evidence, absent, ngram_keys
from longwatch.model.tokens import WindowTokens


def unseen_event(evidence: Evidence, tokens: WindowTokens) -> NDArray[np.float64]:
    """Events of each window whose template no training window held, float64 [B]."""
    return _per_window(absent(tokens.template_id, evidence.templates), tokens)


def unseen_bigram(evidence: Evidence, tokens: WindowTokens) -> NDArray[np.float64]:
    """Pairs of neighbouring events in each window that no training window held, its END among them, float64 [B]."""
    keys, known = ngram_keys(tokens, np.arange(len(tokens.template_id)), 2)
    return _per_window(known & absent(keys, evidence.bigrams), tokens)


def count_vector(evidence: Evidence, tokens: WindowTokens) -> NDArray[np.float64]:
    """L1 distance of each window's template counts to the nearest training window's, over its length, float64 [B].

    All 0 where no training window ended: there is no whole window to compare with.
    """
    if not len(evidence.count_vectors):
        return np.zeros(len(tokens.lengths), dtype=np.float64)
    return evidence.count_distance(tokens, np.arange(len(tokens.lengths), dtype=np.int64))


FLOORS: Mapping[str, Callable[[Evidence, WindowTokens], NDArray[np.float64]]] = MappingProxyType(
    {"unseen event": unseen_event, "unseen 2-gram": unseen_bigram, "count vector": count_vector}
)


def _per_window(flags: NDArray[np.bool_], tokens: WindowTokens) -> NDArray[np.float64]:
    total = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(total[tokens.cu_seqlens[1:]] - total[tokens.cu_seqlens[:-1]], dtype=np.float64)
