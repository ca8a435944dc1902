"""The text form of attention patterns, as YAML has it: read here, written by `str()`. Needs no torch."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import fields

from longwatch.kernels.pattern import KINDS, Pattern

__all__ = ["PatternError", "parse_pattern"]


class PatternError(ValueError):
    """Text that names no pattern; `column` (from 1) is where reading stopped."""

    def __init__(self, message: str, text: str, column: int) -> None:
        super().__init__(f"column {column} of {text!r}: {message}")
        self.text = text
        self.column = column


def parse_pattern(text: str) -> Pattern:
    """The pattern that `text` writes, such as "sliding(512) | global(16)"; `str()` gives it back.

    Raises PatternError (a ValueError) naming the column and the nearest word.
    """
    pattern: Pattern | None = None
    start = 0
    for piece in text.split("|"):
        part = _parse_part(text, piece, start)
        try:
            pattern = part if pattern is None else pattern | part
        except ValueError as error:
            raise PatternError(str(error), text, start + len(piece) - len(piece.lstrip()) + 1) from None
        start += len(piece) + 1
    assert pattern is not None  # noqa: S101  split() gives at least one piece
    return pattern


_PART = re.compile(r"\s*(?P<word>\w+)\s*(?P<call>\((?P<inside>[^()]*)\))?\s*")
_ARGUMENT = re.compile(r"\s*(?:(?P<name>[^\W\d]\w*)\s*=\s*)?(?P<number>\d+)\s*", re.ASCII)


def _parse_part(text: str, piece: str, start: int) -> Pattern:
    found = _PART.match(piece)
    if found is None:
        column = start + len(piece) - len(piece.lstrip()) + 1
        raise PatternError(f"expected one of {', '.join(KINDS)}", text, column)
    column = start + found.start("word") + 1
    kind = KINDS.get(found["word"])
    if kind is None:
        raise PatternError(_unknown("pattern", found["word"], list(KINDS)), text, column)
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
    word = next(word for word, known in KINDS.items() if known is kind)
    names = [field.name for field in fields(kind)]
    return f"{word}({', '.join(names)}) with whole numbers" if names else word
