"""Messages to leaves: what varies within a message becomes `<*>`, by linear-time regular expressions over a column."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

WILDCARD = "<*>"

# A leaf is cut here, so that one endless line can fill neither the cache nor a model's lexicon.
LEAF_CHARACTERS = 1024

_WORD = r"[^\s=,:;()\[\]{}\"'<>|]"
_SEGMENT = r"[^\s=,:;()\[\]{}\"'<>|/\\]"
_ADDRESS = r"[A-Za-z0-9_.+-]+@[A-Za-z0-9_.-]+"
_VALUE = r"=[^\s,;()\[\]]+"
_PATH_OR_DIGITS = rf"{_SEGMENT}*(?:[/\\]+{_SEGMENT}+){{2,}}[/\\]?|{_WORD}*[0-9]{_WORD}*"
_HOST_AND_PORT = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+:<\*>"
_RUN = r"<\*>(?:[\s,:;/.\-_=]*<\*>)+"


@dataclass(frozen=True)
class Masks:
    """Masks in the order they apply: `patterns` of the user (Rust regex), then mail addresses, values after `=`,
    paths of two segments or more, words that hold a digit, hosts with a port.

    Raises ValueError for a pattern that does not compile or that matches the empty text.
    """

    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            _check(pattern)

    def mask(self, messages: pl.Series) -> pl.Series:
        """Raw leaves, String: masked, with runs and white space still as they are; one pass over every message."""
        text = pl.col(messages.name)
        for pattern in self.patterns:
            text = text.str.replace_all(pattern, WILDCARD)
        masked = text.str.replace_all(_ADDRESS, WILDCARD).str.replace_all(_VALUE, f"={WILDCARD}")
        masked = masked.str.replace_all(_PATH_OR_DIGITS, WILDCARD)
        return messages.to_frame().select(masked.str.slice(0, LEAF_CHARACTERS)).to_series()


def tidy(raw_leaves: pl.Series) -> pl.Series:
    """Leaves, String: white space is one blank, a host with its masked port is masked, runs of `<*>` are one."""
    leaf = pl.col(raw_leaves.name).str.replace_all(r"\s+", " ").str.strip_chars()
    leaf = leaf.str.replace_all(_HOST_AND_PORT, WILDCARD).str.replace_all(_RUN, WILDCARD)
    return raw_leaves.to_frame().select(leaf).to_series()


def leaves(messages: pl.Series, masks: Sequence[str] = ()) -> pl.Series:
    """Leaf of each message, String."""
    return tidy(Masks(tuple(masks)).mask(messages))


def _check(pattern: str) -> None:
    try:
        matches_nothing = pl.Series([""]).str.contains(pattern)[0]
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"mask {pattern!r}: {str(error).split('This error')[0].strip()}") from error
    if matches_nothing:
        raise ValueError(f"mask {pattern!r} matches the empty text and would put {WILDCARD} between all characters")
