"""What is looked for: each kind of personal data in the forms that logs write it in, in expressions of RE2.

RE2 has no backtracking: time grows with the length of the text, whatever the text. Expressions are over bytes, where
every byte above 127 counts as a letter, so that text in any encoding, or in none, is looked through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import re2

from longwatch.pipeline.masking.numbers import cards_in, is_address, is_iban

Kind = Literal["secrets", "emails", "cards", "ip_addresses", "users"]
KINDS: tuple[Kind, ...] = ("secrets", "emails", "cards", "ip_addresses", "users")

Spans = Callable[[str], Iterator[tuple[int, int]]]

OWN = "patterns"
"""The kind of the user's forms."""

FINDER_BYTES = 8 << 20
"""For the states of the one automaton."""


@dataclass(frozen=True)
class Form:
    """`mark` replaces group `value`, or all of a match without one; `spans` says which parts of it are meant."""

    kind: str
    mark: str
    expression: Any = field(repr=False)
    spans: Spans | None = None

    @property
    def group(self) -> int:
        """Number of the group that is replaced."""
        return int(self.expression.groupindex.get(b"value", 0))


class Finder:
    """Says which of some forms are found in a value, all of ours in one pass: most texts hold none of them.

    The user's own are always said to be found: one whose automaton has no room would pass for one that is not.
    """

    def __init__(self, forms: Sequence[Form]) -> None:
        self._always = frozenset(place for place, form in enumerate(forms) if form.kind == OWN)
        self._places = [place for place, form in enumerate(forms) if form.kind != OWN]
        options = _bytewise()
        options.max_mem = FINDER_BYTES
        self._set = re2.Set.SearchSet(options)
        for place in self._places:
            self._set.Add(forms[place].expression.pattern)
        self._set.Compile()

    def found(self, value: bytes) -> frozenset[int]:
        """Places of the forms that may be found in the value: no other is."""
        return self._always.union(self._places[each] for each in (self._set.Match(value) or ()))


def forms_of(kind: Kind) -> tuple[Form, ...]:
    """Forms of one kind, in the order they are looked for."""
    return tuple(_form(kind, *each) for each in _FORMS[kind])


def own_form(mark: str, pattern: str) -> Form:
    """A form of the user's: a pattern of RE2 over UTF-8; ValueError says what is wrong with it."""
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(pattern.encode(), options)
    except re2.error as error:
        said = error.args[0]
        raise ValueError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from None
    return Form(OWN, mark, expression)


@cache
def _form(kind: Kind, mark: str, pattern: str, spans: Spans | None = None) -> Form:
    return Form(kind, mark, re2.compile(pattern.encode(), _bytewise()), spans)


def _bytewise() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return options


def _whole_if(right: Callable[[str], bool]) -> Spans:
    def spans(text: str) -> Iterator[tuple[int, int]]:
        if right(text):
            yield 0, len(text)

    return spans


def _ipv6(text: str) -> bool:
    """Names with `::` between them have no digit, and are what most code is made of."""
    return any(character.isdigit() for character in text) and is_address(text)


def _person(name: str) -> bool:
    """A name that is a role of every machine says nothing of a person."""
    return name.strip("\"'\\").lower() not in _ROLES and not name.isdigit()


_ROLES = frozenset(("root", "admin", "administrator", "nobody", "guest", "anonymous", "unknown", "system", "daemon"))
_ROLES |= {"www-data", "none", "null", "nil", "(null)", "-", "*", "true", "false", "not", "is", "was", "has"}

_SCHEMES = frozenset(("bearer", "basic", "digest", "negotiate"))

# `password=x`, `"password": "x"`, `\"api_key\":\"x\"`, `--token x`; a comma or `&` begins the next parameter.
_NAMED = (
    r"(?i)[a-z0-9_.-]*(?:passw(?:or)?d|passphrase|passwd|pwd|secret|token|credentials?|api[_-]?key|apikey|access[_-]?key"
    r"|private[_-]?key|signing[_-]?key|authorization|(?:set-)?cookie|session[_-]?id)\\*[\"']?\s*(?:[:=]|=>)\s*"
)
_QUOTED = r"\"(?:[^\"\\]|\\[\s\S])*(?:\"|\z)|\\+\"[^\"\\]*(?:\\+\"|\z)|'[^']*(?:'|\z)"
_VALUE = rf"(?P<value>{_QUOTED}|[^\s\"'&,;}})\]\\]+)"
_NAME = r"(?P<value>[^\s\"'<>,;&(){}\[\]=:/|]+)"
_QUOTED_NAME = rf"(?P<value>{_QUOTED}|[^\s\"'<>,;&(){{}}\[\]=:/|]+)"

_FORMS: dict[Kind, tuple[tuple[Any, ...], ...]] = {
    "secrets": (
        ("SECRET", r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?P<value>[A-Za-z0-9+/=\s\\:,-]*?)(?:-----END|\z)"),
        ("SECRET", r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*"),
        ("SECRET", r"\b(?:AKIA|ASIA|AGPA|AROA)[A-Z0-9]{16}\b"),
        ("SECRET", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,})"),
        ("SECRET", r"\b(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|AIza[A-Za-z0-9_-]{35})"),
        ("SECRET", r"\b(?:sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|hvs\.[A-Za-z0-9_-]{20,})"),
        ("SECRET", r"(?i)\b(?:bearer|basic|digest|negotiate)\s+(?P<value>[A-Za-z0-9._~+/=-]{8,})"),
        ("SECRET", r"(?i)[a-z][a-z0-9+.-]*://[^\s/@:\"'<>]*:(?P<value>[^\s/\"'<>]+)@"),
        ("SECRET", _NAMED + _VALUE, _whole_if(lambda value: value.lower() not in _SCHEMES)),
        ("SECRET", r"(?i)\s--?(?:password|passwd|secret|token|api-key)\s+(?P<value>[^\s\"'-][^\s\"']*)"),
    ),
    "emails": (
        (
            "EMAIL",
            r"(?i)[^\s@<>()\[\]{}\"',;:=|/\\&?#%]+(?:@|%40|\\u0040)(?:[^\s@<>()\[\]{}\"',;:=|/\\&?#%._*]+\.)+"
            r"[^\s@<>()\[\]{}\"',;:=|/\\&?#%._*]+",
        ),
    ),
    "cards": (
        ("CARD", r"\b[0-9](?:[ -]?[0-9]){12,40}\b", cards_in),
        ("IBAN", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _whole_if(is_iban)),
    ),
    "ip_addresses": (
        ("IP", r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b", _whole_if(is_address)),
        ("IP", r"(?i)(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3})?", _whole_if(_ipv6)),
    ),
    "users": (
        (
            "USER",
            r"(?i)\b[a-z]*user(?:[_-]?(?:name|id))?\\*[\"']?\s*(?:[:=]|=>)\s*" + _QUOTED_NAME,
            _whole_if(_person),
        ),
        ("USER", r"(?i)\b(?:login|logname|acct|account|uname)=" + _QUOTED_NAME, _whole_if(_person)),
        ("USER", r"(?i)\b(?:for|of|by|invalid|illegal|unknown) user " + _NAME, _whole_if(_person)),
        (
            "USER",
            r"(?i)\b(?:password|publickey|none|gssapi-with-mic|hostbased|pam|authentication failure) for " + _NAME,
            _whole_if(lambda name: _person(name) and name.lower() not in ("invalid", "illegal", "user")),
        ),
        (
            "USER",
            r"(?i)\buser " + _NAME + r" (?:logged|signed|connected|disconnected|authenticated|has|was|is|from)\b",
            _whole_if(_person),
        ),
        ("USER", r"\bsudo(?:\[[0-9]+\])?:\s+" + _NAME + r" : ", _whole_if(_person)),
        ("USER", r"\(to [^\s()]+\) " + _NAME + r" on ", _whole_if(_person)),
        ("USER", r"\buid=[0-9]+\((?P<value>[^\s()]+)\)", _whole_if(_person)),
        ("USER", r"(?:/home/|/Users/|\\Users\\+)(?P<value>[^\s/\"'\\<>:,;]+)", _whole_if(_person)),
    ),
}
