"""Puts a mark where personal data stood: `<EMAIL>`, or with a key a pseudonym that stays, `<EMAIL#5b1f0c9a7d3e>`."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from longwatch.pipeline.masking.forms import KINDS, Finder, Form, Kind, forms_of

EntityRule = Literal["forms", "whole", "plain"]

ALWAYS: tuple[Kind, ...] = ("secrets", "emails", "cards", "users")
"""Addresses of machines are what most alerts are about: they are masked where the YAML asks for it."""

_MARK = re.compile(rb"<(?:\*|[A-Z][A-Z0-9_]*(?:#[0-9a-f]{12})?)>")
_PSEUDONYM_BYTES = 6


@dataclass(frozen=True)
class Masker:
    """Pure: equal texts give equal texts, in any process, so that a replay gives what the live worker gave.

    `key` makes pseudonyms; `entity` says how an alert's entity is shown; `letters` whether dead letters are masked.
    """

    forms: tuple[Form, ...] = ()
    key: bytes | None = field(default=None, repr=False)
    entity: EntityRule = "forms"
    letters: bool = True
    _finder: Finder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_finder", Finder(self.forms))

    def text(self, text: str) -> str:
        """The text with a mark in the place of each thing found."""
        if not self.forms:
            return text
        before = text.encode("utf-8", "surrogatepass")
        after = self.raw(before)
        return text if after == before else after.decode("utf-8", "surrogatepass")

    def raw(self, value: bytes) -> bytes:
        """The same for bytes in any encoding, or in none."""
        found = self._finder.found(value)
        for place, form in enumerate(self.forms):
            if place in found and (after := self._without(form, value)) != value:
                # A mark may be part of what a later form looks for, or have taken it away.
                value, found = after, self._finder.found(after)
        return value

    def name(self, entity: str) -> str:
        """An entity as alerts show it."""
        if self.entity == "plain":
            return entity
        return self._mark("ENTITY", entity).decode() if self.entity == "whole" else self.text(entity)

    def _without(self, form: Form, value: bytes) -> bytes:
        pieces, done, group = [], 0, form.group
        for match in form.expression.finditer(value):
            start, stop = match.span(group)
            for first, last in _meant(form, value[start:stop]):
                found = value[start + first : start + last]
                pieces += [value[done : start + first], self._mark(form.mark, found.decode("utf-8", "replace"))]
                done = start + last
        return b"".join([*pieces, value[done:]]) if pieces else value

    def _mark(self, mark: str, found: str) -> bytes:
        if self.key is None:
            return f"<{mark}>".encode()
        same = found.strip("\"'\\ ").lower().encode("utf-8", "replace")
        digest = hmac.digest(self.key, mark.encode() + b"\0" + same, "sha256")
        return f"<{mark}#{digest[:_PSEUDONYM_BYTES].hex()}>".encode()


def is_shared_mark(text: str) -> bool:
    """Whether a text holds a mark without a pseudonym, which stands for many things alike."""
    return any(b"#" not in found.group() and found.group() != b"<*>" for found in _MARK.finditer(text.encode()))


def _meant(form: Form, found: bytes) -> Iterator[tuple[int, int]]:
    """Parts of what was found that are to be masked; a mark is not masked again."""
    inner = found.strip(b"\"'\\")
    if not inner or _MARK.fullmatch(inner):
        return
    start = found.index(inner)
    if form.spans is None:
        yield start, start + len(inner)
        return
    for first, last in form.spans(inner.decode("latin-1")):
        yield start + first, start + last


def masker(kinds: tuple[Kind, ...] = ALWAYS, own: tuple[Form, ...] = (), **settings: Any) -> Masker:
    """A masker of the user's forms, then of those kinds, in the order in which one may hold another."""
    known = [form for kind in KINDS if kind in kinds for form in forms_of(kind)]
    return Masker((*own, *known), **settings)


NOTHING = Masker((), entity="plain", letters=False)
