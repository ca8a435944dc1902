"""Text to event time: ISO 8601, epoch numbers, strptime formats with or without a year; ms since 1970, UTC."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl

from longwatch.pipeline.decode.lines import excerpt

EPOCH_UNITS_PER_SECOND = {"epoch_s": 1, "epoch_ms": 10**3, "epoch_us": 10**6, "epoch_ns": 10**9}

EARLIEST_MS = -62_135_596_800_000  # 0001-01-01
LATEST_MS = 253_402_300_799_999  # 9999-12-31

# A line without a year may be this far ahead of its arrival before it is taken for last year's.
AHEAD_OF_ARRIVAL_MS = 24 * 3600 * 1000

_DAY_MS = 24 * 3600 * 1000
_LEAP_YEAR = 2000
_YEAR_CODES = frozenset("YyCGgcDFxs+v")
_ISO_8601 = (
    r"^\s*(?P<year>\d{4})-?(?P<month>\d{2})-?(?P<day>\d{2})[Tt _](?P<hour>\d{2}):?(?P<minute>\d{2})"
    r"(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
    r"\s*(?P<zone>[Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?\s*$"
)

Parse = Callable[[pl.Series, pl.Series], pl.Series]


@dataclass(frozen=True)
class TimestampReader:
    """Reads event times written as `format` (`iso8601`, `epoch_s|ms|us|ns`, or strptime) in `timezone` (IANA name).

    A written offset wins over `timezone`. A local time that a clock change makes double is the earlier one, one that
    it skips is unreadable. Raises ValueError at construction for a format or a zone that cannot be read.
    """

    format: str
    timezone: str = "UTC"
    _parse: Parse = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"timezone {self.timezone!r} is not an IANA name such as Europe/Berlin or UTC") from error
        object.__setattr__(self, "_parse", _parser(self.format, self.timezone))

    def read(self, text: pl.Series, arrival_ms: pl.Series) -> pl.Series:
        """Event time of each text, Int64 ms; null where it cannot be read or lies outside the years 1 to 9999.

        `arrival_ms` (Int64, -1 unknown) gives the year to formats that have none.
        """
        milliseconds = self._parse(text, arrival_ms)
        return milliseconds.set(~milliseconds.is_between(EARLIEST_MS, LATEST_MS).fill_null(False), None)

    @property
    def is_epoch(self) -> bool:
        """Whether the text is a number since 1970."""
        return self.format in EPOCH_UNITS_PER_SECOND

    def complaint(self, text: str) -> str:
        """What to tell a person about a text that could not be read."""
        return f"cannot read {excerpt(text)} as {self.format} in {self.timezone}, years 1 to 9999"


def _parser(format_: str, timezone: str) -> Parse:
    if format_ == "iso8601":
        return lambda text, _: _iso8601(text, timezone)
    if format_ in EPOCH_UNITS_PER_SECOND:
        return lambda text, _: _epoch(text, EPOCH_UNITS_PER_SECOND[format_])
    return _strptime(format_, timezone)


def _epoch(text: pl.Series, units_per_second: int) -> pl.Series:
    """Whole numbers exactly; fractions and exponents through float64, cut to the millisecond."""
    whole, number = pl.col("whole"), pl.col("number")
    limit = LATEST_MS // 1000 * units_per_second
    fits = whole.cast(pl.Float64).abs() <= limit
    exact = whole * (1000 // units_per_second) if units_per_second <= 1000 else whole // (units_per_second // 1000)
    # Half a microsecond makes up for binary fractions such as .123 that float64 holds a little too low.
    rough = (number * (1000 / units_per_second) + 0.0005).floor()
    stripped = text.str.strip_chars()
    frame = pl.DataFrame(
        {"whole": stripped.cast(pl.Int64, strict=False), "number": stripped.cast(pl.Float64, strict=False)}
    )
    rough_fits = number.is_finite() & (number.abs() <= limit)
    chosen = pl.when(whole.is_not_null() & fits).then(exact).when(whole.is_null() & rough_fits)
    return frame.select(chosen.then(rough.cast(pl.Int64, strict=False)).alias("ms")).to_series()


def _iso8601(text: pl.Series, timezone: str) -> pl.Series:
    parts = text.str.extract_groups(_ISO_8601).struct.unnest()
    written = pl.format(
        "{}-{}-{} {}:{}:{}.{}",
        *("year", "month", "day", "hour", "minute"),
        pl.col("second").fill_null("00"),
        pl.col("fraction").fill_null("0"),
    )
    naive = parts.select(written).to_series().str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="ms")
    digits = pl.col("zone").str.replace_all(r"\D", "").str.pad_end(4, "0")
    minutes = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(2, 2).cast(
        pl.Int64, strict=False
    )
    ahead = pl.when(pl.col("zone").str.starts_with("-")).then(-minutes).otherwise(minutes)
    zulu = pl.col("zone").str.to_uppercase() == "Z"
    frame = parts.with_columns(utc=naive.cast(pl.Int64), local=_to_utc(naive, timezone))
    offset = pl.when(zulu).then(0).otherwise(ahead) * 60_000
    return frame.select(pl.when(pl.col("zone").is_null()).then("local").otherwise(pl.col("utc") - offset)).to_series()


def _to_utc(naive: pl.Series, timezone: str) -> pl.Series:
    if timezone == "UTC":
        return naive.cast(pl.Int64)
    zoned = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return zoned.cast(pl.Int64)


def _strptime(format_: str, timezone: str) -> Parse:
    codes = set(re.findall(r"%[-_0]?([^\d.:#]|[+])", format_.replace("%%", "")))
    if "Z" in codes:
        raise ValueError(
            f"timestamp format {format_!r} holds %Z: zone abbreviations such as EST name several zones. "
            "Write the abbreviation itself into the format and name the zone in `timezone:`"
        )
    format_, fraction = _chrono_fraction(format_)
    has_year = bool(codes & _YEAR_CODES)
    has_offset = bool(codes & {"z", "s", "+"}) or any(code in format_ for code in ("%:z", "%#z"))

    def parse(text: pl.Series, arrival_ms: pl.Series) -> pl.Series:
        text = text.str.strip_chars()
        text = text.str.replace(fraction, ".$1") if fraction else text
        if not has_year:
            return _without_year(text, arrival_ms, format_, timezone)
        moments = text.str.to_datetime(format_, strict=False, time_unit="ms")
        return moments.cast(pl.Int64) if has_offset else _to_utc(moments, timezone)

    _check_reads_back(format_, parse)
    return parse


def _chrono_fraction(format_: str) -> tuple[str, str]:
    """The format with `%f` as Polars reads it, and the pattern that turns another last separator into a point."""
    format_ = format_.replace(".%f", "%.f")
    ends = re.fullmatch(r"(.*%S)([^%\w])%f", format_, re.DOTALL)
    if ends:
        return f"{ends[1]}%.f", re.escape(ends[2]) + r"(\d{1,9})$"
    if "%f" in format_:
        raise ValueError(
            f"timestamp format {format_!r}: %f is read after a point or at the end; write %3f, %6f or %9f for that "
            "many digits elsewhere"
        )
    return format_, ""


def _check_reads_back(format_: str, parse: Parse) -> None:
    sample = pl.Series([datetime(2001, 11, 24, 10, 20, 30, 250_000)], dtype=pl.Datetime("ms", "UTC"))
    try:
        read = parse(sample.dt.strftime(format_), sample.cast(pl.Int64))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"timestamp format {format_!r} is not a strptime format: {error}") from error
    # Time zones and formats of whole days put it up to two days off; a format without day or month puts it months off.
    if not ((read - sample.cast(pl.Int64)).abs() < 2 * _DAY_MS).all() or read.null_count():
        raise ValueError(
            f"timestamp format {format_!r} cannot read the time it writes; it needs day, month and known % codes"
        )


def _without_year(text: pl.Series, arrival_ms: pl.Series, format_: str, timezone: str) -> pl.Series:
    """The latest year that puts the time no more than `AHEAD_OF_ARRIVAL_MS` after the arrival; else null."""
    parsed = pl.select(pl.lit(f"{_LEAP_YEAR} ") + text).to_series()
    parsed = parsed.str.to_datetime(f"%Y {format_}", strict=False, time_unit="ms")
    known = arrival_ms.set((arrival_ms < 0).fill_null(True), None).clip(0, LATEST_MS)
    here = known.cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    frame = pl.DataFrame({"leap": parsed.cast(pl.Int64) - _year_start_ms(_LEAP_YEAR), "here": here})
    # Nine years back reach a 29 February even across 1900 and 2100.
    candidates = [_in_year(pl.col("here").dt.year().cast(pl.Int64) + shift) for shift in range(1, -9, -1)]
    latest = pl.col("here").cast(pl.Int64) + AHEAD_OF_ARRIVAL_MS
    fits = [pl.when(candidate <= latest).then(candidate) for candidate in candidates]
    naive = frame.select(pl.coalesce(fits)).to_series()
    return _to_utc(naive.cast(pl.Datetime("ms")), timezone)


def _in_year(year: pl.Expr) -> pl.Expr:
    """`leap` (ms into a leap year) as ms since 1970 in `year`; null for 29 February of a common year."""
    is_leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    day = pl.col("leap") // _DAY_MS
    shifted = pl.col("leap") - pl.when(is_leap | (day < 59)).then(0).otherwise(_DAY_MS)
    days = 365 * (year - 1970) + (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    return pl.when(is_leap | (day != 59)).then(shifted + days * _DAY_MS)


def _year_start_ms(year: int) -> int:
    return (datetime(year, 1, 1) - datetime(1970, 1, 1)).days * _DAY_MS
