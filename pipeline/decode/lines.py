"""Bytes of a record to the line it holds, or the reason why it holds none."""

import polars as pl

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_UNREADABLE = " \t\r\n\v\f" + REPLACEMENT
_EXCERPT_CHARACTERS = 120


def read_lines(values: pl.Series, max_bytes: int) -> pl.DataFrame:
    """Columns `line`, `reason`, `detail` (String) for `values` (Binary); exactly one of line and reason is null.

    Bytes that are not UTF-8 become U+FFFD; line ends and a byte order mark are taken off.
    """
    size = values.bin.size()
    large = (size > max_bytes).fill_null(False)
    kept = values.set(large, None) if large.any() else values
    text = to_text(kept).str.strip_chars_end("\r\n").str.strip_prefix(BYTE_ORDER_MARK)
    bad = (text.str.strip_chars(_UNREADABLE).str.len_bytes() == 0).fill_null(True)
    whys = [_why(size[row], text[row], max_bytes) for row in bad.arg_true()]
    return pl.DataFrame(
        {
            "line": text.set(bad, None),
            "reason": at_rows(bad, [reason for reason, _ in whys]),
            "detail": at_rows(bad, [detail for _, detail in whys]),
        }
    )


def to_text(values: pl.Series) -> pl.Series:
    """Binary to String, every byte that is not UTF-8 read as U+FFFD; null stays null."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        texts = [None if value is None else value.decode(errors="replace") for value in values]
        return pl.Series(values.name, texts, dtype=pl.String)


def at_rows(rows: pl.Series, values: list[str]) -> pl.Series:
    """A String column with `values` where `rows` (Boolean) is true, null elsewhere."""
    column = pl.Series([None], dtype=pl.String).new_from_index(0, len(rows))
    return column.scatter(rows.arg_true(), values) if values else column


def excerpt(text: str | None) -> str:
    """The first characters of a text in double quotes, for a detail."""
    return f'"{(text or "")[:_EXCERPT_CHARACTERS]}"'


def _why(size: int | None, text: str | None, max_bytes: int) -> tuple[str, str]:
    if size is None:
        return "empty_record", "the record has no value (a tombstone); a line is expected"
    if text is None:
        return "too_large", f"{size} bytes; format.max_bytes is {max_bytes}"
    if REPLACEMENT in text:
        return "not_utf8", f"none of the {size} bytes can be read as UTF-8"
    return "empty_record", f"{size} bytes, all white space; a line is expected"
