"""The clock that decides silence goes on evenly, whatever is done to the wall's."""

import time

from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.clock import SystemClock

DAY_S = 86_400


@given(st.lists(st.tuples(st.integers(-DAY_S, DAY_S), st.integers(0, 3600)), max_size=20))
def test_setting_the_wall_clock_moves_no_time_on_or_back(jumps):
    wall, even = [1_795_000_000], [50]
    clock = SystemClock(lambda: wall[0], lambda: even[0])
    for jump, seconds in jumps:
        before = clock.now_ms()
        wall[0] += jump + seconds
        even[0] += seconds
        assert clock.now_ms() - before == seconds * 1000


def test_it_starts_with_the_wall_clock():
    assert abs(SystemClock().now_ms() - time.time() * 1000) < 5_000
