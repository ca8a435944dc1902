"""Leaves to templates: words that alternate among otherwise equal leaves become `<*>`, in any order."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b

from longwatch.pipeline.template_masks import WILDCARD

# Words of a leaf in order, separators kept; None where a word was merged away.
Pattern = tuple[str | None, ...]

# A word is merged away only where at least this many other words stay: `<*> <*>` would match anything.
WORDS_KEPT = 2

_SPLIT = re.compile(r"(<\*>|[\s=,:;()\[\]{}\"'<>|]+)")
_LETTER = re.compile(r"[^\W\d_]")
_RUN = re.compile(r"<\*>(?:[\s,:;/.\-_=]*<\*>)+")
_HASH_MASK = (1 << 64) - 1


def split(leaf: str) -> Pattern:
    """Words, wildcards and separators; joined they are the leaf."""
    return tuple(piece for piece in _SPLIT.split(leaf) if piece)


def render(pattern: Pattern) -> str:
    """The template's text."""
    return _RUN.sub(WILDCARD, "".join(WILDCARD if word is None else word for word in pattern))


def is_word(piece: str | None) -> bool:
    """Whether a piece holds a letter: neither a separator, a wildcard nor a sign."""
    return piece is not None and _LETTER.search(piece) is not None


def merge(leaves: Iterable[str], above: int) -> dict[str, Pattern]:
    """Pattern of each leaf, a pure function of the set: a position where more than `above` words alternate among
    leaves that are equal elsewhere is merged away, again and again until none is left.
    """
    patterns = {leaf: split(leaf) for leaf in leaves}
    while True:
        distinct = set(patterns.values())
        merged = _merge_once(distinct, above)
        if merged.keys() == set(merged.values()):
            return patterns
        patterns = {leaf: merged[pattern] for leaf, pattern in patterns.items()}


def _merge_once(patterns: set[Pattern], above: int) -> dict[Pattern, Pattern]:
    words: dict[tuple[int, int, int], set[str | None]] = defaultdict(set)
    for pattern in patterns:
        for position, key in _contexts(pattern):
            words[key].add(pattern[position])
    crowded = {key for key, found in words.items() if len(found) > above}
    return {pattern: _without(pattern, crowded) for pattern in patterns}


def _without(pattern: Pattern, crowded: set[tuple[int, int, int]]) -> Pattern:
    gone = {position for position, key in _contexts(pattern) if key in crowded}
    return tuple(None if position in gone else word for position, word in enumerate(pattern)) if gone else pattern


def _contexts(pattern: Pattern) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Each position that may be merged away, with a key that equals that of leaves equal everywhere else."""
    hashes = [_word_hash(position, word) for position, word in enumerate(pattern)]
    total = sum(hashes)
    positions = [position for position, word in enumerate(pattern) if is_word(word)]
    if len(positions) > WORDS_KEPT:
        for position in positions:
            yield position, (len(pattern), position, (total - hashes[position]) & _HASH_MASK)


@lru_cache(maxsize=1 << 16)
def _word_hash(position: int, word: str | None) -> int:
    text = f"{position}\0" if word is None else f"{position}={word}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class FrozenPatterns:
    """Finds the learned pattern that an unseen leaf fits: equal pieces, any one word where a word was merged away."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._by_length: dict[int, dict[tuple[int, ...], set[Pattern]]] = defaultdict(lambda: defaultdict(set))
        for pattern in patterns:
            gone = tuple(position for position, word in enumerate(pattern) if word is None)
            if gone:
                self._by_length[len(pattern)][gone].add(pattern)

    def find(self, leaf: str) -> Pattern | None:
        """The fitting pattern with the fewest merged words, ties to the earlier position; None where none fits."""
        pieces = split(leaf)
        families = self._by_length.get(len(pieces), {})
        for gone in sorted(families, key=lambda positions: (len(positions), positions)):
            candidate = _blank(pieces, gone)
            if candidate in families[gone]:
                return candidate
        return None


def _blank(pieces: Pattern, positions: tuple[int, ...]) -> Pattern | None:
    blanked = list(pieces)
    for position in positions:
        if not is_word(pieces[position]):
            return None
        blanked[position] = None
    return tuple(blanked)
