"""Lines with a header: one regular expression, its named groups are the fields."""

from dataclasses import dataclass

import polars as pl

from longwatch.pipeline.decode.fields import FieldTemplate
from longwatch.pipeline.decode.lines import at_rows, excerpt
from longwatch.pipeline.decode.timestamps import TimestampReader


@dataclass(frozen=True)
class HeaderReader:
    """Reads text lines by `header` (Rust regex syntax, linear time), which must match the whole line; `.` also
    matches line ends. `time` and `message` are templates of its named groups, `entity` names a group.

    A group whose text is `nil` counts as absent; a line without a time has its arrival time if `nil_time_is_arrival`.
    Raises ValueError for a pattern that does not compile and for a template that names no group.
    """

    header: str
    message: FieldTemplate
    time: FieldTemplate
    timestamps: TimestampReader
    entity: str | None = None
    nil: str | None = None
    nil_time_is_arrival: bool = False

    def __post_init__(self) -> None:
        check_pattern(self.header, "format.text.header")
        known = group_names(self.header)
        used = {*self.message.names, *self.time.names, *filter(None, [self.entity])}
        if unknown := sorted(used - set(known)):
            raise ValueError(f"the header has no group {', '.join(unknown)}; its groups are {', '.join(known)}")

    def read(self, lines: pl.DataFrame) -> pl.DataFrame:
        """What `FormatReader` promises."""
        groups = lines["line"].str.extract_groups(f"(?s)^(?:{self.header})$").struct.unnest()
        rows = groups.select_seq(
            _message=self.message.expression(lambda name: self._group(name).fill_null("")),
            _entity=self._group(self.entity) if self.entity else pl.lit(None, pl.String),
            _time=self.time.expression(self._group),
            _matched=~pl.all_horizontal(pl.all().is_null()),
        )
        event_time = self._event_time(rows["_time"], lines["timestamp_ms"])
        bad = (event_time.is_null() | ~rows["_matched"]) & lines["line"].is_not_null()
        whys = [self._why(lines["line"][row], rows["_time"][row], rows["_matched"][row]) for row in bad.arg_true()]
        return pl.DataFrame(
            {
                "event_time_ms": event_time,
                "message": rows["_message"],
                "entity": rows["_entity"],
                "reason": at_rows(bad, [reason for reason, _ in whys]),
                "detail": at_rows(bad, [detail for _, detail in whys]),
            }
        )

    def _group(self, name: str) -> pl.Expr:
        group = pl.col(name)
        return group if self.nil is None else pl.when(group != self.nil).then(group)

    def _event_time(self, text: pl.Series, arrival_ms: pl.Series) -> pl.Series:
        event_time = self.timestamps.read(text, arrival_ms)
        if not self.nil_time_is_arrival:
            return event_time
        return event_time.zip_with(text.is_not_null(), arrival_ms.set((arrival_ms < 0).fill_null(True), None))

    def _why(self, line: str, time: str | None, matched: bool) -> tuple[str, str]:
        if not matched:
            return "header_mismatch", f"the header does not match {excerpt(line)}"
        if time is None:
            return "timestamp_invalid", f"no time in {excerpt(line)} and no arrival time"
        return "timestamp_invalid", self.timestamps.complaint(time)


def all_groups(pattern: str) -> list[str]:
    """Capture groups of a regular expression in order; one without a name has its number."""
    return list(pl.Series([""]).str.extract_groups(pattern).struct.fields)


def group_names(pattern: str) -> list[str]:
    """Named groups of a regular expression, in order."""
    return [name for name in all_groups(pattern) if not name.isdigit()]


def check_pattern(pattern: str, what: str) -> None:
    """Raises ValueError where `pattern` is not a Rust regular expression, or is too large to compile."""
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        reason = str(error).split("\n\nThis error")[0].strip()
        raise ValueError(f"{what}: {reason}") from error
