"""Leaves to templates: words that alternate among otherwise equal leaves become `<*>`, in any order."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b

from longwatch.pipeline.template_masks import WILDCARD

# Words of a leaf in order, separators kept; None where a word was merged away.
Pattern = tuple[str | None, ...]
_Context = tuple[int, int, int]

# A word is merged away only where at least this many other words stay: `<*> <*>` would match anything.
WORDS_KEPT = 2

# The first word mostly says what happens: so many times more words must alternate there than elsewhere.
FIRST_WORD_FACTOR = 3

_SPLIT = re.compile(r"(<\*>|(?:(?!<\*>)[\s=,:;()\[\]{}\"'<>|])+)")
_LETTER = re.compile(r"[^\W\d_]")
_RUN = re.compile(r"<\*>(?:[\s,:;/.\-_=]*<\*>)+")
_NAMED = re.compile(r"(?<=\s)(?:[A-Za-z_.]+\(<\*>\)|[<>~]<\*>)(?=[,:;.]*(?:\s|$))")
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


def plain(leaf: str) -> str:
    """The leaf with `<*>` for `NAME(<*>)` and `<<*>`: how a message looks where its value has no name and no bound."""
    return _NAMED.sub(WILDCARD, leaf)


def merge(leaves: Iterable[str], above: int) -> dict[str, Pattern]:
    """Pattern of each leaf, a pure function of the set: a position where more than `above` words alternate among
    leaves that are equal elsewhere is merged away, or any words where one of those leaves has a wildcard, again and
    again until none is left.
    """
    patterns = {leaf: split(leaf) for leaf in leaves}
    while True:
        distinct = set(patterns.values())
        merged = _merge_once(distinct, above)
        if merged.keys() == set(merged.values()):
            return patterns
        patterns = {leaf: merged[pattern] for leaf, pattern in patterns.items()}


def _merge_once(patterns: set[Pattern], above: int) -> dict[Pattern, Pattern]:
    found: dict[_Context, set[str | None]] = defaultdict(set)
    limits: dict[_Context, int] = {}
    for pattern in patterns:
        first = next((position for position, piece in enumerate(pattern) if is_word(piece)), None)
        for position, key in _contexts(pattern):
            found[key].add(pattern[position])
            limits[key] = above * FIRST_WORD_FACTOR if position == first else above
    varying = {key for key, pieces in found.items() if _varies(pieces, limits[key])}
    return {pattern: _without(pattern, varying) for pattern in patterns}


def _varies(pieces: set[str | None], above: int) -> bool:
    return len(pieces) > above or (len(pieces) > 1 and not pieces.isdisjoint((None, WILDCARD)))


def _without(pattern: Pattern, varying: set[_Context]) -> Pattern:
    gone = {position for position, key in _contexts(pattern) if key in varying}
    return tuple(None if position in gone else word for position, word in enumerate(pattern)) if gone else pattern


def _contexts(pattern: Pattern) -> Iterator[tuple[int, _Context]]:
    """Each position that may be merged away, with a key that equals that of leaves equal everywhere else."""
    hashes = [_word_hash(position, word) for position, word in enumerate(pattern)]
    total = sum(hashes)
    words = sum(map(is_word, pattern))
    for position, piece in enumerate(pattern):
        if _may_vary(piece) and words - is_word(piece) >= WORDS_KEPT:
            yield position, (len(pattern), position, (total - hashes[position]) & _HASH_MASK)


def _may_vary(piece: str | None) -> bool:
    return piece is None or piece == WILDCARD or is_word(piece)


@lru_cache(maxsize=1 << 16)
def _word_hash(position: int, word: str | None) -> int:
    text = f"{position}\0" if word is None else f"{position}={word}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class FrozenPatterns:
    """Finds the learned pattern that an unseen leaf fits: equal pieces, a word or wildcard where words were merged."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        families: dict[int, dict[tuple[int, ...], set[Pattern]]] = defaultdict(lambda: defaultdict(set))
        for pattern in patterns:
            gone = tuple(position for position, word in enumerate(pattern) if word is None)
            if gone:
                families[len(pattern)][gone].add(pattern)
        self._by_length = {
            length: sorted(each.items(), key=lambda family: (len(family[0]), family[0]))
            for length, each in families.items()
        }

    def find(self, leaf: str) -> Pattern | None:
        """The fitting pattern with the fewest merged words, ties to the earlier position; None where none fits."""
        pieces = split(leaf)
        for gone, patterns in self._by_length.get(len(pieces), ()):
            candidate = _blank(pieces, gone)
            if candidate in patterns:
                return candidate
        return None


def _blank(pieces: Pattern, positions: tuple[int, ...]) -> Pattern | None:
    blanked = list(pieces)
    for position in positions:
        if not _may_vary(pieces[position]):
            return None
        blanked[position] = None
    return tuple(blanked)
