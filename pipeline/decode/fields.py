"""Templates such as `{date} {time}` that put the fields of a record together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from string import Formatter

import polars as pl


@dataclass(frozen=True)
class FieldTemplate:
    """Literal text with `{field}` holes; `{{` and `}}` are braces. Raises ValueError where that does not parse.

    `names` are the fields in order, `literals` the text before each, `tail` the text after the last.
    """

    text: str
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    literals: tuple[str, ...] = field(init=False, repr=False, compare=False)
    tail: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            parsed = [(literal, name) for literal, name, _, _ in Formatter().parse(self.text)]
        except ValueError as error:
            raise ValueError(f"template {self.text!r}: {error}") from error
        if any(name == "" for _, name in parsed):
            raise ValueError(f"template {self.text!r} has an empty hole {{}}; name the field, for instance {{message}}")
        # `{{` ends a literal without a hole behind it, so that several literals may stand before one hole.
        literals, names = [""], []
        for literal, name in parsed:
            literals[-1] += literal
            if name:
                names.append(name)
                literals.append("")
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "literals", tuple(literals[:-1]))
        object.__setattr__(self, "tail", literals[-1])

    def expression(self, hole: Callable[[str], pl.Expr]) -> pl.Expr:
        """The template over columns, String; null where a hole is null."""
        pairs = zip(self.literals, self.names, strict=True)
        parts: list[pl.Expr] = []
        for literal, name in pairs:
            parts += [pl.lit(literal), hole(name)] if literal else [hole(name)]
        return pl.concat_str([*parts, pl.lit(self.tail)] if self.tail or not parts else parts)

    def fill(self, values: Sequence[str | None]) -> str:
        """The template with one value for each of `names`, nothing where it is None."""
        if len(values) == 1 and not self.literals[0] and not self.tail:
            return values[0] or ""
        texts = [value or "" for value in values]
        return "".join(chain.from_iterable(zip(self.literals, texts, strict=True))) + self.tail
