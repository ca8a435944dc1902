"""What follows what: counted inside windows, and only where there is enough to count."""

import numpy as np

from longwatch.model.successors import FOLLOWERS, LEAST_TIMES, Successors
from longwatch.model.tokens import WindowTokens


def make_windows(*windows: list[int]) -> WindowTokens:
    ids = np.array([each for window in windows for each in window], np.uint64)
    ends = np.concatenate([[0], np.cumsum([len(window) for window in windows])]).astype(np.int32)
    zeros = np.zeros(len(ids), np.int64)
    return WindowTokens(ids, zeros, zeros.astype(np.int32), ends, np.zeros(len(windows), np.int32))


def test_followers_are_counted_and_the_most_frequent_come_first():
    found = Successors.fit(make_windows(*[[1, 2]] * 30, *[[1, 3]] * 60, *[[1, 4]] * 5, *[[1, 5]] * 4))
    assert found.after(1) == (99, [(3, 60), (2, 30), (4, 5)])
    assert len(found.after(1)[1]) == FOLLOWERS


def test_nothing_follows_across_the_border_of_two_windows():
    found = Successors.fit(make_windows(*[[1, 2], [3, 4], []] * 40))
    assert found.after(1) == (40, [(2, 40)])
    assert found.after(2) == (0, [])


def test_what_was_followed_too_rarely_says_nothing():
    found = Successors.fit(make_windows(*[[1, 2]] * (LEAST_TIMES - 1), *[[3, 2]] * LEAST_TIMES))
    assert found.after(1) == (0, [])
    assert found.after(3) == (LEAST_TIMES, [(2, LEAST_TIMES)])
    assert found.after(2**63) == (0, [])


def test_the_order_of_the_windows_changes_nothing_and_arrays_come_back_as_they_were():
    windows = [[1, 2, 3], [2, 2, 1], [3, 1, 2]] * 20
    found, turned = Successors.fit(make_windows(*windows)), Successors.fit(make_windows(*reversed(windows)))
    back = Successors.from_arrays(found.to_arrays())
    for name, values in found.to_arrays().items():
        assert np.array_equal(values, turned.to_arrays()[name])
        assert np.array_equal(values, back.to_arrays()[name])
    assert Successors.none().after(1) == Successors.fit(make_windows([], [7])).after(7) == (0, [])
