"""Templates as numbers: output classes of the known ones, hashed words of all, buckets of time gaps and shapes."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longwatch.model.tokens import END_TEMPLATE, WindowTokens, template_id

# Bytes decide, not Unicode tables, so that words do not change with the Python version.
WORD = re.compile(r"<\*>|[0-9A-Za-z_\u0080-\U0010ffff]+")
MAX_WORD_CHARS = 64
POWERS_OF_TWO = np.left_shift(np.int64(1), np.arange(62, dtype=np.int64))


@dataclass(frozen=True)
class Lexicon:
    """The distinct templates of some windows, and each token as a row of them.

    words: int64 [U, K], hashed words, 0 = none. known: int64 [U], output class or 0 for an unseen template.
    rows: int64 [N], row of `words` for each token. targets: int64 [N], output class of each token, 0 = UNK.
    """

    words: NDArray[np.int64]
    known: NDArray[np.int64]
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """Known templates, sorted; template i has output class i + 1, and class 0 is UNK, whatever is not known."""

    templates: tuple[str, ...]
    word_buckets: int
    max_words: int

    @classmethod
    def of(cls, templates: Iterable[str], word_buckets: int, max_words: int) -> "Vocabulary":
        """Vocabulary of these texts in any order, with the end-of-window token always among them."""
        return cls(tuple(sorted({*templates, END_TEMPLATE})), word_buckets, max_words)

    @property
    def num_classes(self) -> int:
        """Output classes: UNK and the known templates."""
        return len(self.templates) + 1

    @cached_property
    def known_words(self) -> NDArray[np.int64]:
        """Hashed words of each output class, int64 [V + 1, K]; row 0 (UNK) has none."""
        unknown = np.zeros((1, self.max_words), np.int64)
        return np.concatenate([unknown, self.words_of(self.templates)])

    def words_of(self, templates: Iterable[str]) -> NDArray[np.int64]:
        """Hashed words of each text, int64 [U, K]; 0 = no word."""
        rows = [hashed_words(text, self.word_buckets, self.max_words) for text in templates]
        return np.array(rows, np.int64).reshape(len(rows), self.max_words)

    def classes_of(self, template_ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Output class of each template id, int64 of the same shape; 0 = not known."""
        ids, classes = self._sorted_ids
        place = np.minimum(np.searchsorted(ids, template_ids), len(ids) - 1)
        return np.where(ids[place] == template_ids, classes[place], 0)

    def lexicon(self, tokens: WindowTokens) -> Lexicon:
        """Lexicon of these windows; raises ValueError for an unseen template that came without its text."""
        distinct, rows = np.unique(tokens.template_id, return_inverse=True)
        known = self.classes_of(distinct)
        words = self.known_words[known]
        unseen = np.flatnonzero(known == 0)
        words[unseen] = self.words_of(_texts(tokens.templates, distinct[unseen]))
        return Lexicon(words, known, rows.reshape(-1).astype(np.int64), known[rows.reshape(-1)])

    def to_json(self) -> str:
        """Canonical JSON: equal vocabularies, equal text."""
        values = {"templates": self.templates, "word_buckets": self.word_buckets, "max_words": self.max_words}
        return json.dumps(values, sort_keys=True, ensure_ascii=True, indent=0)

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Vocabulary that `to_json` wrote; raises ValueError for anything else."""
        values = json.loads(text)
        if not isinstance(values, dict) or values.keys() != {"templates", "word_buckets", "max_words"}:
            raise ValueError("vocabulary: expected the keys templates, word_buckets and max_words")
        return cls.of(values["templates"], values["word_buckets"], values["max_words"])

    @cached_property
    def _sorted_ids(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        ids = np.array([template_id(text) for text in self.templates], np.uint64)
        order = np.argsort(ids)
        return ids[order], order.astype(np.int64) + 1


def hashed_words(text: str, buckets: int, max_words: int) -> list[int]:
    """The first `max_words` words of a template as buckets 1 to `buckets` - 1, 0 where it has fewer."""
    words = [match.group()[:MAX_WORD_CHARS] for match in islice(WORD.finditer(text), max_words)]
    row = [_word_bucket(word, buckets) for word in words or [text[:MAX_WORD_CHARS]]]
    return row + [0] * (max_words - len(row))


def gap_bucket(gap_ms: ArrayLike, buckets: int) -> NDArray[np.int64]:
    """Bucket of each time gap: 0 for the first event of a session (-1), 1 for 0 ms, then one for each power of two."""
    gaps = np.asarray(gap_ms, np.int64)
    return np.where(gaps < 0, 0, np.minimum(1 + _bit_length(gaps), buckets - 1))


def shape_bucket(parameter_chars: ArrayLike, buckets: int) -> NDArray[np.int64]:
    """Bucket of each count of masked characters: 0 for none, then one for each power of two."""
    return np.minimum(_bit_length(np.asarray(parameter_chars, np.int64)), buckets - 1)


def _bit_length(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(POWERS_OF_TWO, values, side="right").astype(np.int64)


@lru_cache(maxsize=1 << 16)
def _word_bucket(word: str, buckets: int) -> int:
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % (buckets - 1)


def _texts(templates: Mapping[int, str], ids: NDArray[np.uint64]) -> list[str]:
    missing = [i for i in ids.tolist() if i not in templates]
    if missing:
        raise ValueError(
            f"{len(missing)} template ids are not in the vocabulary and came without text, first {missing[0]:016x}; "
            "put the text of every template that may be unseen into WindowTokens.templates"
        )
    return [templates[i] for i in ids.tolist()]
