"""What a query may read: immutable attention patterns and their text form. Needs no torch."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

__all__ = [
    "Dense",
    "Global",
    "Pattern",
    "PatternError",
    "Sliding",
    "Strided",
    "Union",
    "parse_pattern",
    "receptive_field",
]


class PatternError(ValueError):
    """Text that names no pattern; `column` (from 1) is where reading stopped."""

    def __init__(self, message: str, text: str, column: int) -> None:
        super().__init__(f"column {column} of {text!r}: {message}")
        self.text = text
        self.column = column


@dataclass(frozen=True, slots=True)
class Pattern:
    """A causal rule over positions counted from the document's start; equal rules are equal values.

    Every rule is a band (`band` keys back from the query) plus columns (keys that every later query sees).
    """

    @property
    def parts(self) -> tuple["Pattern", ...]:
        """The simple patterns whose union this is, in canonical order."""
        return (self,)

    @property
    def band(self) -> int | None:
        """How many keys back every query sees, itself included: 0 for none, None for all of them."""
        return 0

    def column(self, key_pos: Any) -> Any:
        """Bool per key: every query at or after it sees it, however far away. Integer arrays or tensors."""
        return key_pos < 0

    def visible(self, query_pos: Any, key_pos: Any) -> Any:
        """Bool, broadcast over both: the query may read the key. Integer arrays or tensors. The definition."""
        causal = key_pos <= query_pos
        if self.band is None:
            return causal
        return causal & ((query_pos - key_pos < self.band) | self.column(key_pos))

    def __or__(self, other: "Pattern") -> "Pattern":
        if not isinstance(other, Pattern):
            return NotImplemented
        parts = sorted({*self.parts, *other.parts}, key=_rank)
        return parts[0] if len(parts) == 1 else Union(tuple(parts))


@dataclass(frozen=True, slots=True)
class Sliding(Pattern):
    """The token itself and the `span - 1` tokens before it. ValueError unless span >= 1."""

    span: int

    def __post_init__(self) -> None:
        _at_least_one("sliding", "span", self.span)

    @property
    def band(self) -> int:
        """The span."""
        return self.span

    def __str__(self) -> str:
        return f"sliding({self.span})"


@dataclass(frozen=True, slots=True)
class Strided(Pattern):
    """The last `width` tokens of every `stride`, by absolute position. ValueError unless 1 <= width <= stride."""

    stride: int
    width: int = 64

    def __post_init__(self) -> None:
        _at_least_one("strided", "stride", self.stride)
        _at_least_one("strided", "width", self.width)
        if self.width > self.stride:
            raise ValueError(
                f"strided: width {self.width} is more than stride {self.stride}; "
                f"expected width <= stride, such as strided({self.stride}, width={self.stride})"
            )

    def column(self, key_pos: Any) -> Any:
        """Bool per key: it lies in the last `width` of its stride."""
        return (key_pos >= 0) & (key_pos % self.stride >= self.stride - self.width)

    def __str__(self) -> str:
        return f"strided({self.stride}, width={self.width})"


@dataclass(frozen=True, slots=True)
class Global(Pattern):
    """The document's `first` tokens. ValueError unless first >= 1."""

    first: int

    def __post_init__(self) -> None:
        _at_least_one("global", "first", self.first)

    def column(self, key_pos: Any) -> Any:
        """Bool per key: it is among the first."""
        return (key_pos >= 0) & (key_pos < self.first)

    def __str__(self) -> str:
        return f"global({self.first})"


@dataclass(frozen=True, slots=True)
class Dense(Pattern):
    """Every token up to the query's own."""

    @property
    def band(self) -> None:
        """None: no limit."""
        return

    def __str__(self) -> str:
        return "dense"


@dataclass(frozen=True, slots=True)
class Union(Pattern):
    """What any member shows, each key once. Built by `|`, which keeps members flat, sorted and distinct."""

    members: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        flat = {part for member in self.members for part in member.parts}
        if len(flat) < 2:
            raise ValueError(f"union: expected at least two different patterns, got {list(map(str, flat))}")
        object.__setattr__(self, "members", tuple(sorted(flat, key=_rank)))

    @property
    def parts(self) -> tuple[Pattern, ...]:
        """The members."""
        return self.members

    @property
    def band(self) -> int | None:
        """The widest member's band."""
        bands = [part.band for part in self.members]
        return None if None in bands else max(band for band in bands if band is not None)

    def column(self, key_pos: Any) -> Any:
        """Bool per key: a column of any member."""
        seen = self.members[0].column(key_pos)
        for part in self.members[1:]:
            seen = seen | part.column(key_pos)
        return seen

    def __str__(self) -> str:
        return " | ".join(map(str, self.members))


def receptive_field(patterns: Iterable[Pattern]) -> int | None:
    """How many tokens, its own included, a token's output can depend on through a stack of layers, one pattern each.

    Sliding layers give 1 + sum(span - 1); any other kind of layer reaches the document's start: None.
    """
    total = 1
    for pattern in patterns:
        spans = [part.span for part in pattern.parts if isinstance(part, Sliding)]
        if len(spans) < len(pattern.parts):
            return None
        total += max(spans) - 1
    return total


def parse_pattern(text: str) -> Pattern:
    """The pattern that `text` writes, such as "sliding(512) | global(16)"; `str()` gives it back.

    Raises PatternError (a ValueError) naming the column and the nearest word.
    """
    pattern: Pattern | None = None
    start = 0
    for piece in text.split("|"):
        part = _parse_part(text, piece, start)
        pattern = part if pattern is None else pattern | part
        start += len(piece) + 1
    assert pattern is not None  # noqa: S101  split() gives at least one piece
    return pattern


_KINDS: dict[str, type[Pattern]] = {"sliding": Sliding, "strided": Strided, "global": Global, "dense": Dense}
_PART = re.compile(r"\s*(?P<word>\w+)\s*(?P<call>\((?P<inside>[^()]*)\))?\s*")
_ARGUMENT = re.compile(r"\s*(?:(?P<name>[^\W\d]\w*)\s*=\s*)?(?P<number>\d+)\s*", re.ASCII)


def _parse_part(text: str, piece: str, start: int) -> Pattern:
    found = _PART.match(piece)
    if found is None:
        column = start + len(piece) - len(piece.lstrip()) + 1
        raise PatternError(f"expected one of {', '.join(_KINDS)}", text, column)
    column = start + found.start("word") + 1
    kind = _KINDS.get(found["word"])
    if kind is None:
        raise PatternError(_unknown("pattern", found["word"], list(_KINDS)), text, column)
    if found.end() < len(piece):
        rest = piece[found.end() :]
        raise PatternError(f"{rest!r} is not expected here; join patterns by '|'", text, start + found.end() + 1)
    arguments = _parse_arguments(text, kind, found["inside"] or "", start + max(found.start("inside"), 0))
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        problem = str(error) if isinstance(error, ValueError) else f"expected {_signature(kind)}"
        raise PatternError(problem, text, column) from None


def _parse_arguments(text: str, kind: type[Pattern], inside: str, start: int) -> dict[str, int]:
    names = [field.name for field in fields(kind)]
    arguments: dict[str, int] = {}
    for index, piece in enumerate(inside.split(",") if inside.strip() else []):
        column = start + len(piece) - len(piece.lstrip()) + 1
        found = _ARGUMENT.fullmatch(piece)
        if found is None or (found["name"] is None and index >= len(names)):
            raise PatternError(f"{piece.strip()!r} is not expected; expected {_signature(kind)}", text, column)
        name = found["name"] or names[index]
        if name not in names:
            raise PatternError(_unknown("argument", name, names), text, column)
        if name in arguments:
            raise PatternError(f"{name} is given twice", text, column)
        arguments[name] = int(found["number"])
        start += len(piece) + 1
    return arguments


def _unknown(what: str, word: str, valid: Sequence[str]) -> str:
    near = difflib.get_close_matches(word.lower(), valid, n=1, cutoff=0.4)
    advice = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(valid) or 'none'}"
    return f"unknown {what} {word!r}; {advice}"


def _signature(kind: type[Pattern]) -> str:
    word = next(word for word, known in _KINDS.items() if known is kind)
    names = [field.name for field in fields(kind)]
    return f"{word}({', '.join(names)}) with whole numbers" if names else word


def _at_least_one(word: str, name: str, number: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"{word}: {name} must be a whole number of at least 1, got {number!r}")


def _rank(part: Pattern) -> tuple[int, tuple[int, ...]]:
    numbers = tuple(getattr(part, field.name) for field in fields(part))
    return list(_KINDS.values()).index(type(part)), numbers
