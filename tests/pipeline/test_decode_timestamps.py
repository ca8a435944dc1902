from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.decode.timestamps import TimestampReader

DATES = st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 31)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


def ms(moment):
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def read(text, format_, timezone="UTC", arrival_ms=-1):
    return TimestampReader(format_, timezone).read(pl.Series([text]), pl.Series([arrival_ms]))[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05"),
        ("2024-01-02t03:04:05z", "2024-01-02T03:04:05"),
        ("2024-01-02 03:04:05.6", "2024-01-02T03:04:05.600"),
        ("2024-01-02 03:04:05,678", "2024-01-02T03:04:05.678"),
        ("2024-01-02T03:04:05.678999999999Z", "2024-01-02T03:04:05.678"),
        ("2024-01-02T03:04+02:00", "2024-01-02T01:04:00"),
        ("2024-01-02T03:04:05-0330", "2024-01-02T06:34:05"),
        ("2024-01-02T03:04:05 +02", "2024-01-02T01:04:05"),
        ("20240102T030405Z", "2024-01-02T03:04:05"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59"),
    ],
)
def test_iso_8601_is_read_with_and_without_offsets_and_fractions(text, expected):
    assert read(text, "iso8601") == ms(datetime.fromisoformat(expected))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-02",
        "2024-01-02T25:00:00Z",
        "2024-01-02T03:04:05+99:00",
        "10000-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        None,
    ],
)
def test_what_is_no_time_between_the_years_1_and_9999_is_null(text):
    assert TimestampReader("iso8601").read(pl.Series([text], dtype=pl.String), pl.Series([-1]))[0] is None


@settings(max_examples=50, deadline=None)
@given(DATES, st.integers(-23 * 60, 23 * 60))
def test_iso_8601_round_trips(moment, offset_minutes):
    sign, minutes = "-" if offset_minutes < 0 else "+", abs(offset_minutes)
    text = f"{moment.isoformat(timespec='milliseconds')}{sign}{minutes // 60:02}:{minutes % 60:02}"
    assert read(text, "iso8601") == ms(moment) - offset_minutes * 60_000


@settings(max_examples=50, deadline=None)
@given(DATES)
def test_a_local_time_is_read_in_its_zone_as_python_reads_it(moment):
    # Leap years stay leap years: the 29th of February is in no other.
    local = moment.replace(year=2000 + moment.year % 28, tzinfo=ZoneInfo("Europe/Berlin"))
    back = local.astimezone(UTC).astimezone(ZoneInfo("Europe/Berlin"))
    expected = ms(local.astimezone(UTC)) if back.replace(fold=0) == local else None
    assert read(local.strftime("%Y-%m-%d %H:%M:%S.%f"), "%Y-%m-%d %H:%M:%S.%f", "Europe/Berlin") == expected


@pytest.mark.parametrize(
    ("unit", "scale"), [("epoch_s", 1), ("epoch_ms", 10**3), ("epoch_us", 10**6), ("epoch_ns", 10**9)]
)
@settings(max_examples=50, deadline=None)
@given(moment=DATES.filter(lambda moment: 1700 < moment.year < 2200), rest=st.integers(0, 999_999))
def test_whole_epoch_numbers_are_exact_in_every_unit(unit, scale, moment, rest):
    nanoseconds = ms(moment) * 10**6 + rest
    number = nanoseconds * scale // 10**9
    assert read(str(number), unit) == number * 1000 // scale


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1700000000.123", 1_700_000_000_123), ("1.7e9", 1_700_000_000_000), ("-1.5", -1_500), (" 5 ", 5_000)],
)
def test_epoch_seconds_may_have_a_fraction_or_an_exponent(text, expected):
    assert read(text, "epoch_s") == expected


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e300", "9" * 18, "9" * 400, "0x10", "1_000", "true", ""])
def test_an_epoch_that_is_no_time_is_null(text):
    assert read(text, "epoch_s") is None


@pytest.mark.parametrize(
    ("text", "format_", "expected"),
    [
        ("081109 203531", "%y%m%d %H%M%S", "2008-11-09T20:35:31"),
        ("17/May/2015:10:05:03 +0200", "%d/%b/%Y:%H:%M:%S %z", "2015-05-17T08:05:03"),
        ("2015-10-18 18:01:47,978", "%Y-%m-%d %H:%M:%S,%f", "2015-10-18T18:01:47.978"),
        ("20171223-22:15:29:606", "%Y%m%d-%H:%M:%S:%f", "2017-12-23T22:15:29.606"),
        ("2005-06-03-15.42.50.363779", "%Y-%m-%d-%H.%M.%S.%f", "2005-06-03T15:42:50.363"),
        ("Thu Jun 09 06:07:04 2005", "%a %b %d %H:%M:%S %Y", "2005-06-09T06:07:04"),
        ("2005-06-09", "%Y-%m-%d", "2005-06-09T00:00:00"),
        ("2005-06-09 06:07:04 PM", "%Y-%m-%d %I:%M:%S %p", "2005-06-09T18:07:04"),
    ],
)
def test_strptime_formats_of_well_known_logs(text, format_, expected):
    assert read(text, format_) == ms(datetime.fromisoformat(expected))


@pytest.mark.parametrize(
    ("text", "timezone", "expected"),
    [
        ("2024-10-27 02:30:00", "Europe/Berlin", "2024-10-27T00:30:00"),
        ("2024-03-31 02:30:00", "Europe/Berlin", None),
        ("2024-07-01 12:00:00", "America/New_York", "2024-07-01T16:00:00"),
    ],
)
def test_a_doubled_hour_is_the_earlier_one_and_a_skipped_hour_is_unreadable(text, timezone, expected):
    wanted = expected and ms(datetime.fromisoformat(expected))
    assert read(text, "%Y-%m-%d %H:%M:%S", timezone) == wanted


@pytest.mark.parametrize(
    ("text", "arrival", "expected"),
    [
        ("Nov 24 10:00:00", "2026-11-24T10:00:05", "2026-11-24T10:00:00"),
        ("Nov  4 10:00:00", "2026-11-24T10:00:05", "2026-11-04T10:00:00"),
        ("Dec 31 23:59:59", "2026-01-01T00:00:03", "2025-12-31T23:59:59"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:58", "2026-01-01T00:00:01"),
        ("Jan  2 00:00:01", "2025-12-31T23:59:58", "2025-01-02T00:00:01"),
        ("Feb 29 12:00:00", "2026-03-01T00:00:00", "2024-02-29T12:00:00"),
        ("Feb 29 12:00:00", "2104-01-01T00:00:00", "2096-02-29T12:00:00"),
        ("Mar  1 12:00:00", "2024-03-01T12:00:00", "2024-03-01T12:00:00"),
    ],
)
def test_a_time_without_a_year_takes_the_latest_that_is_at_most_a_day_after_the_arrival(text, arrival, expected):
    arrival_ms = ms(datetime.fromisoformat(arrival))
    assert read(text, "%b %e %H:%M:%S", arrival_ms=arrival_ms) == ms(datetime.fromisoformat(expected))


def test_a_time_without_a_year_is_unreadable_without_an_arrival_time():
    assert read("Nov 24 10:00:00", "%b %e %H:%M:%S") is None


def test_a_time_without_a_year_is_read_in_its_own_zone():
    arrival_ms = ms(datetime(2026, 1, 1, 4, 0, 0))
    assert read("Dec 31 22:59:59", "%b %e %H:%M:%S", "America/New_York", arrival_ms) == ms(
        datetime(2026, 1, 1, 3, 59, 59)
    )


@settings(max_examples=50, deadline=None)
@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)), st.integers(0, 300))
def test_a_time_without_a_year_round_trips_within_a_year_before_its_arrival(moment, days_late):
    moment = moment.replace(microsecond=0)
    arrival_ms = ms(moment + timedelta(days=days_late))
    assert read(moment.strftime("%b %d %H:%M:%S"), "%b %d %H:%M:%S", arrival_ms=arrival_ms) == ms(moment)


@pytest.mark.parametrize(
    ("format_", "timezone", "message"),
    [
        ("%Y-%m-%d %H:%M:%S %Z", "UTC", "%Z"),
        ("%H:%M:%S", "UTC", "day, month"),
        ("%Q", "UTC", "%Q"),
        ("%f %Y-%m-%d %H:%M:%S", "UTC", "%3f"),
        ("iso8601", "Mars/Olympus", "IANA"),
    ],
)
def test_a_format_or_zone_that_cannot_work_is_refused_at_once(format_, timezone, message):
    with pytest.raises(ValueError, match=message):
        TimestampReader(format_, timezone)
