"""What a query may read: immutable attention patterns. Needs no torch."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

__all__ = [
    "KINDS",
    "Dense",
    "Global",
    "Pattern",
    "Sliding",
    "Strided",
    "TopK",
    "Union",
    "receptive_field",
]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A causal rule over positions counted from the document's start; equal rules are equal values.

    A fixed rule is a band (`band` keys back from the query) plus columns (keys that every later query sees). What data
    chooses besides is its `data_chosen` part; `band`, `column` and `visible` then raise ValueError.
    """

    @property
    def parts(self) -> tuple["Pattern", ...]:
        """The simple patterns whose union this is, in canonical order."""
        return (self,)

    @property
    def data_chosen(self) -> "TopK | None":
        """The part whose keys depend on the data; None for a rule of positions alone."""
        return None

    @property
    def fixed(self) -> "Pattern | None":
        """The rule without its data-chosen part; None if nothing is left."""
        return self

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

    def certain(self, query_pos: Any, key_pos: Any) -> Any:
        """Bool, broadcast over both: the query reads the key whatever the data are; `visible` for a fixed rule."""
        return self.visible(query_pos, key_pos)

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
class TopK(Pattern):
    """The query's own block of `block` tokens, and the `count` earlier blocks with the highest gate.

    The gate of key block b for query block i: the mean query of block i - 1, over the heads that share the keys, times
    the mean key of block b, times the scale; of equal gates the lower block wins. Blocks count from the document's
    start, so what is chosen depends on no token after block i - 1. ValueError unless both are at least 1.
    """

    count: int
    block: int = 64

    def __post_init__(self) -> None:
        _at_least_one("topk", "count", self.count)
        _at_least_one("topk", "block", self.block)

    @property
    def data_chosen(self) -> "TopK":
        """Itself."""
        return self

    @property
    def fixed(self) -> None:
        """None: even the own block comes with the choice."""
        return

    @property
    def band(self) -> int | None:
        """ValueError: the data decide."""
        raise self._no_rule("band")

    def column(self, key_pos: Any) -> Any:
        """ValueError: the data decide."""
        raise self._no_rule("column")

    def certain(self, query_pos: Any, key_pos: Any) -> Any:
        """Bool, broadcast over both: the key is in the query's block and not after it."""
        return (key_pos <= query_pos) & (key_pos // self.block == query_pos // self.block)

    def _no_rule(self, asked: str) -> ValueError:
        return ValueError(f"{self}: data chooses what a query sees, so it has no `{asked}`; ask `certain` or `fixed`")

    def __str__(self) -> str:
        return f"topk({self.count}, block={self.block})"


@dataclass(frozen=True, slots=True)
class Union(Pattern):
    """What any member shows, each key once. Built by `|`, which keeps members flat, sorted and distinct."""

    members: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        flat = {part for member in self.members for part in member.parts}
        if len(flat) < 2:
            raise ValueError(f"union: expected at least two different patterns, got {list(map(str, flat))}")
        chosen = [part for part in flat if isinstance(part, TopK)]
        if len(chosen) > 1:
            raise ValueError(f"union: expected one topk at most, got {' and '.join(sorted(map(str, chosen)))}")
        if chosen and Dense() in flat:
            raise ValueError(f"union: dense shows every block that {chosen[0]} would choose; leave one of them out")
        object.__setattr__(self, "members", tuple(sorted(flat, key=_rank)))

    @property
    def parts(self) -> tuple[Pattern, ...]:
        """The members."""
        return self.members

    @property
    def data_chosen(self) -> TopK | None:
        """The topk member, if there is one."""
        return next((part for part in self.members if isinstance(part, TopK)), None)

    @property
    def fixed(self) -> Pattern | None:
        """The union of the other members."""
        rest = tuple(part for part in self.members if not isinstance(part, TopK))
        return Union(rest) if len(rest) > 1 else rest[0]

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

    def certain(self, query_pos: Any, key_pos: Any) -> Any:
        """Bool, broadcast over both: certain by any member."""
        seen = self.members[0].certain(query_pos, key_pos)
        for part in self.members[1:]:
            seen = seen | part.certain(query_pos, key_pos)
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


# Their words, in the order in which a union writes its members.
KINDS: dict[str, type[Pattern]] = {
    "sliding": Sliding,
    "strided": Strided,
    "global": Global,
    "dense": Dense,
    "topk": TopK,
}


def _at_least_one(word: str, name: str, number: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"{word}: {name} must be a whole number of at least 1, got {number!r}")


def _rank(part: Pattern) -> tuple[int, tuple[int, ...]]:
    numbers = tuple(getattr(part, field.name) for field in fields(part))
    return list(KINDS.values()).index(type(part)), numbers
