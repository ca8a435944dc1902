"""The user's masks: what matches them becomes `<*>` before a message is read any further."""

from dataclasses import dataclass

import polars as pl

WILDCARD = "<*>"


@dataclass(frozen=True)
class Masks:
    """Patterns of the user (Rust regex, linear time) in the order they apply.

    Raises ValueError for a pattern that does not compile or that matches the empty text.
    """

    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            _check(pattern)

    def mask(self, messages: pl.Series) -> pl.Series:
        """The messages with `<*>` in place of what matches."""
        text = pl.col("message")
        for pattern in self.patterns:
            text = text.str.replace_all(pattern, WILDCARD)
        return messages.alias("message").to_frame().select(text).to_series() if self.patterns else messages


def _check(pattern: str) -> None:
    try:
        matches_nothing = pl.Series([""]).str.contains(pattern)[0]
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"mask {pattern!r}: {str(error).split('This error')[0].strip()}") from error
    if matches_nothing:
        raise ValueError(f"mask {pattern!r} matches the empty text and would put {WILDCARD} between all characters")
