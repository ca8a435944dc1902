"""How long to wait before the next try."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.relay.backoff import Backoff, retry_after_s

NOON_MS = 1_795_521_600_000  # 2026-11-24T12:00:00Z


@given(failures=st.integers(1, 10_000), draw=st.floats(0, 1), first=st.floats(0.01, 10), times=st.floats(1, 1000))
def test_a_pause_is_within_a_limit_that_doubles_up_to_the_cap(failures: int, draw: float, first: float, times: float):
    backoff = Backoff(first, first * times, lambda: draw)
    assert 0 <= backoff.pause_s(failures) <= backoff.limit_s(failures) <= first * times
    assert backoff.limit_s(failures + 1) >= backoff.limit_s(failures)
    if failures < 50 and first * 2**failures <= first * times:
        assert math.isclose(backoff.limit_s(failures + 1), 2 * backoff.limit_s(failures))


def test_jitter_is_full():
    assert Backoff(1, 60, lambda: 0.0).pause_s(9) == 0
    assert Backoff(1, 60, lambda: 1.0).pause_s(9) == 60


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Tue, 24 Nov 2026 12:02:00 GMT", 120),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("9" * 400, 10**9),
        ("Tue, 99 Nov 2026 12:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_nonsense_is_none(header: str | None, seconds: float | None):
    assert retry_after_s(header, NOON_MS) == seconds


@given(st.text())
def test_no_header_breaks_it(header: str):
    asked = retry_after_s(header, NOON_MS)
    assert asked is None or asked >= 0
