"""Cheap evidence: what a window holds that the fit split never held, as causal flags beside the network's surprise."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from longwatch.model.tokens import END_TEMPLATE_ID, WindowTokens, template_id

ORDER_NAMES = ("unseen_bigram", "unseen_trigram")
COUNT_LEVELS = (0.0, 0.1, 0.2)
MAX_COUNT_VECTORS = 2048
MAX_COUNT_CELLS = 1 << 22
_START_ID = template_id("<start of session>")
_CHUNK_CELLS = 1 << 24


@dataclass(frozen=True)
class Signs:
    """What evidence says of each unscored token: flags, bool [M, K]; distance, float64 [M].

    distance: at an END, how far the window's counts are from the nearest fit window's, else -1: the window goes on.
    """

    flags: NDArray[np.bool_]
    distance: NDArray[np.float64]

    def rows(self, index: NDArray[np.int64] | slice) -> "Signs":
        """Those of some rows."""
        return Signs(self.flags[index], self.distance[index])


@dataclass(frozen=True)
class Evidence:
    """What the fit split contained; every flag says "this window holds something the fit split never held".

    templates: uint64 [V], sorted. most_occurrences: int64 [V], the most often that one fit window held each.
    bigrams, trigrams: uint64, sorted hashes of the n-grams seen. count_vectors: int32 [D, V], distinct template
    counts of the fit windows that ended (END itself left out), the most frequent first.
    """

    names: ClassVar[tuple[str, ...]] = (
        "unseen_template",
        "unseen_bigram",
        "unseen_trigram",
        "unseen_occurrence",
        "unseen_counts",
        "odd_counts",
        "strange_counts",
    )

    templates: NDArray[np.uint64]
    most_occurrences: NDArray[np.int64]
    bigrams: NDArray[np.uint64]
    trigrams: NDArray[np.uint64]
    count_vectors: NDArray[np.int32]

    @classmethod
    def fit(cls, tokens: WindowTokens) -> Self:
        """What whole normal windows contain; every token counts, context too. The order of the windows is no matter."""
        rows = np.arange(len(tokens.template_id), dtype=np.int64)
        templates = np.unique(tokens.template_id)
        most = np.zeros(len(templates), dtype=np.int64)
        np.maximum.at(most, np.searchsorted(templates, tokens.template_id), occurrences(tokens))
        grams = [np.unique(keys[known]) for keys, known in (ngram_keys(tokens, rows, size) for size in (2, 3))]
        vectors = frequent(count_vectors(tokens, ended_windows(tokens), templates)[:, :-1])
        return cls(templates, most, grams[0], grams[1], vectors)

    def flags(self, tokens: WindowTokens) -> NDArray[np.bool_]:
        """One row for each unscored token and one column for each name, bool [M, K]."""
        return self.signs(tokens).flags

    def signs(self, tokens: WindowTokens) -> Signs:
        """One row for each unscored token; it looks at nothing after its own token.

        unseen_occurrence: the template has come more often in this window than in any fit window. The three count
        columns are set on END tokens only: the window's template counts are further than 0, 10 and 20 % (L1 over the
        window's length) from the nearest fit window's.
        """
        rows = tokens.unscored_rows()
        flags = np.zeros((len(rows), len(self.names)), dtype=np.bool_)
        flags[:, 0] = absent(tokens.template_id[rows], self.templates)
        for column, size, seen in ((1, 2, self.bigrams), (2, 3, self.trigrams)):
            keys, known = ngram_keys(tokens, rows, size)
            flags[:, column] = known & absent(keys, seen)
        flags[:, 3] = occurrences(tokens)[rows] > self._most(tokens.template_id[rows])
        ends = np.flatnonzero(tokens.template_id[rows] == np.uint64(END_TEMPLATE_ID))
        distance = np.full(len(rows), -1.0)
        distance[ends] = 0
        if len(ends) and len(self.count_vectors):
            windows = np.searchsorted(tokens.cu_seqlens, rows[ends], side="right") - 1
            distance[ends] = self.count_distance(tokens, windows)
            flags[ends, 4:] = distance[ends, None] > np.array(COUNT_LEVELS)
        return Signs(flags, distance)

    def count_distance(self, tokens: WindowTokens, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """L1 distance of each window's template counts to the nearest fit window's, over its length, float64 [W]."""
        counts = count_vectors(tokens, windows, self.templates)
        nearest = nearest_l1(counts[:, :-1], self.count_vectors) + counts[:, -1]
        return np.asarray(nearest / np.maximum(counts.sum(axis=1), 1), dtype=np.float64)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Every field by name, as a bundle keeps it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The evidence that `to_arrays` gave; KeyError names an array that is not there."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})  # type: ignore[arg-type]

    def _most(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        at = np.minimum(np.searchsorted(self.templates, ids), max(len(self.templates) - 1, 0))
        if not len(self.templates):
            return np.zeros(len(ids), dtype=np.int64)
        return np.where(self.templates[at] == ids, self.most_occurrences[at], 0)


def absent(keys: NDArray[np.uint64], seen: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each key is missing from the sorted `seen`, bool like `keys`."""
    if not len(seen):
        return np.ones(len(keys), dtype=np.bool_)
    at = np.minimum(np.searchsorted(seen, keys), len(seen) - 1)
    return np.asarray(seen[at] != keys, dtype=np.bool_)


def ngram_keys(
    tokens: WindowTokens, rows: NDArray[np.int64], size: int
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hash of the `size` templates that end at each packed row, uint64 [R]; whether all of them are known, bool [R].

    Before a session's first event stand start marks. Before a window that goes on from an earlier one stands nothing:
    what came there is unknown, so such an n-gram is neither learned nor flagged.
    """
    starts = np.repeat(tokens.cu_seqlens[:-1].astype(np.int64), tokens.lengths)[rows]
    position = rows - starts
    keys = np.zeros(len(rows), dtype=np.uint64)
    for lag in range(size - 1, -1, -1):
        ids = np.where(position >= lag, tokens.template_id[np.maximum(rows - lag, 0)], np.uint64(_START_ID))
        keys = mix(keys + ids)
    return keys, (position >= size - 1) | (tokens.gap_ms[starts] < 0)


def occurrences(tokens: WindowTokens) -> NDArray[np.int64]:
    """How many times each token's template has come in its window so far, itself included, int64 [N]."""
    windows = np.repeat(np.arange(len(tokens.lengths), dtype=np.uint64), tokens.lengths)
    keys = mix(tokens.template_id + mix(windows))
    order = np.argsort(keys, kind="stable")
    place = np.arange(len(keys), dtype=np.int64)
    firsts = np.concatenate([[True], keys[order][1:] != keys[order][:-1]])[: len(keys)]
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[order] = place - np.maximum.accumulate(np.where(firsts, place, 0)) + 1
    return ranks


def ended_windows(tokens: WindowTokens) -> NDArray[np.int64]:
    """Windows whose last token is END, int64 [W]."""
    full = np.flatnonzero(tokens.lengths > 0)
    last = tokens.template_id[tokens.cu_seqlens[full + 1] - 1]
    return np.asarray(full[last == np.uint64(END_TEMPLATE_ID)], dtype=np.int64)


def count_vectors(tokens: WindowTokens, windows: NDArray[np.int64], templates: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How often each window holds each of `templates` (sorted) and, in the last column, any other; END is not counted.

    int64 [W, V + 1].
    """
    lengths = tokens.lengths[windows].astype(np.int64)
    firsts = tokens.cu_seqlens[windows] - np.concatenate([[0], np.cumsum(lengths)[:-1]])[: len(windows)]
    ids = tokens.template_id[np.repeat(firsts, lengths) + np.arange(lengths.sum())]
    rows = np.repeat(np.arange(len(windows)), lengths)
    column = np.where(absent(ids, templates), len(templates), np.searchsorted(templates, ids))
    kept = ids != np.uint64(END_TEMPLATE_ID)
    width = len(templates) + 1
    counts = np.bincount((rows * width + column)[kept], minlength=len(windows) * width)
    return counts.reshape(len(windows), width).astype(np.int64)


def nearest_l1(counts: NDArray[np.int64], known: NDArray[np.int32]) -> NDArray[np.int64]:
    """L1 distance of each row of `counts` [W, V] to the nearest row of `known` [D, V], int64 [W]; D is at least 1."""
    step = max(_CHUNK_CELLS // max(known.size, 1), 1)
    chunks = [counts[at : at + step, None, :] - known[None] for at in range(0, len(counts), step)]
    nearest = [np.abs(chunk).sum(axis=2).min(axis=1) for chunk in chunks]
    return np.concatenate([np.zeros(0, dtype=np.int64), *nearest])


def frequent(vectors: NDArray[np.int64]) -> NDArray[np.int32]:
    """Distinct rows, the most frequent first, as many as are cheap to compare with."""
    if not vectors.size:
        return np.zeros((0, vectors.shape[1]), dtype=np.int32)
    distinct, times = np.unique(vectors, axis=0, return_counts=True)
    most = min(MAX_COUNT_VECTORS, max(MAX_COUNT_CELLS // vectors.shape[1], 1))
    return distinct[np.argsort(-times, kind="stable")[:most]].astype(np.int32)


def mix(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit words in which every output bit hangs on every input bit (the splitmix64 finaliser)."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
