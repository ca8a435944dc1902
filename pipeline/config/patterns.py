"""Patterns in the dialect that runs them (Polars: linear time, no look-around), name templates, timestamp formats."""

import difflib
import string
from collections.abc import Iterable
from datetime import datetime

import polars as pl
from polars.exceptions import ComputeError

from longwatch.pipeline.config.base import Problem

NAMED_TIMESTAMPS = ("iso8601", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns")


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean `x`?`` for the most similar known word, empty when none is similar."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{found[0]}`?" if found else ""


def check_pattern(pattern: str) -> str:
    """The pattern, if Polars can run it."""
    try:
        pl.Series([""]).str.contains(pattern)
    except ComputeError as error:
        raise _pattern_problem(str(error)).as_error() from None
    return pattern


def check_mask(pattern: str) -> str:
    """A pattern that Polars can run and that does not match the empty text, which is everywhere."""
    if pl.Series([""]).str.contains(check_pattern(pattern))[0]:
        raise Problem("the pattern matches the empty text", "write `+` instead of `*`").as_error()
    return pattern


def group_names(pattern: str) -> tuple[str, ...]:
    """The named groups of a checked pattern, in order."""
    dtype = pl.Series([""]).str.extract_groups(pattern).dtype
    fields = dtype.fields if isinstance(dtype, pl.Struct) else []
    return tuple(field.name for field in fields if not field.name.isdigit())


def check_template(template: str) -> str:
    """Text with `{names}` in it; no formats, no conversions."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise Problem(f"not a template: {error}", "write `{{` for a brace").as_error() from None
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise Problem("a name in a template takes no `:format` or `!conversion`", "write `{name}`").as_error()
    if any(name == "" for _, name, _, _ in parts):
        raise Problem("`{}` names nothing", "write `{name}`").as_error()
    return template


def template_names(template: str) -> tuple[str, ...]:
    """The names in a checked template, in order."""
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name)


def check_timestamp(name: str) -> str:
    """`iso8601`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or a strptime format with at least month and day."""
    from longwatch.pipeline.decode.timestamps import TimestampReader

    if name not in NAMED_TIMESTAMPS and "%" not in name:
        known = f"known are {', '.join(NAMED_TIMESTAMPS)} and strptime formats such as '%Y-%m-%d %H:%M:%S'"
        hint = " ".join(filter(None, (nearest(name, NAMED_TIMESTAMPS), known)))
        raise Problem(f"unknown timestamp format `{name}`", hint).as_error()
    try:
        TimestampReader(name)
    except ValueError as error:
        raise Problem(
            str(error), "a format needs month, day and known %-codes, such as '%Y-%m-%d %H:%M:%S'"
        ).as_error() from None
    return name


def lacks_year(name: str) -> bool:
    """Whether a checked timestamp format takes its year from the arrival time."""
    from longwatch.pipeline.decode.timestamps import TimestampReader

    if name in NAMED_TIMESTAMPS:
        return False
    written = pl.Series([datetime(2024, 3, 5, 7, 8, 9)], dtype=pl.Datetime("ms", "UTC")).dt.strftime(name)
    return TimestampReader(name).read(written, pl.Series([-1], dtype=pl.Int64)).null_count() == 1


def check_timezone(name: str) -> str:
    """An IANA name of the time zone database."""
    from longwatch.pipeline.decode.timestamps import TimestampReader

    try:
        TimestampReader("iso8601", name)
        pl.Series([datetime(2024, 1, 1)]).dt.replace_time_zone(name)
    except (ValueError, ComputeError):
        raise Problem(
            f"unknown time zone `{name}`", "write an IANA name such as UTC or Europe/Berlin"
        ).as_error() from None
    return name


def _pattern_problem(error: str) -> Problem:
    """What the regex parser says and, from its line of carets, how far into the pattern."""
    lines = error.split("\n\nThis error occurred")[0].removeprefix("regex error: ").splitlines()
    carets = [line for line in lines if line.strip() and not line.strip("^ ")]
    what = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    offset = carets[0].rstrip().rfind(" ") + 1 - 4 if len(carets) == 1 else -1
    hint = "patterns run in linear time: no look-around, no back-references"
    return Problem(f"the pattern does not compile: {what}", hint, offset=max(offset, -1))
