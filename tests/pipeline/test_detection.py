"""Alert levels rise with the events, never with the batches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.detection import AlertState, Detection, Scores, escalations, levels

SCORES = st.lists(st.floats(0, 40), min_size=1, max_size=50)


def make_scores(event: list[float]) -> Scores:
    values = np.array(event)
    flags = np.zeros((len(event), 1), bool)
    return Scores(values.astype(np.float32), flags, values, np.maximum.accumulate(values))


def test_levels_rise_as_the_excess_doubles():
    assert levels(np.array([2.9, 3.0, 3.99, 4.0, 5.99, 6.0, 10.0]), 3.0).tolist() == [0, 1, 1, 2, 2, 3, 4]


@given(SCORES, st.integers(0, 50), st.floats(0.5, 10))
def test_escalations_do_not_depend_on_how_scores_are_cut(event, cut, threshold):
    scores = np.array(event)
    whole = list(escalations(AlertState(), scores, threshold))
    state, parts = AlertState(), []
    for start, part in ((0, scores[:cut]), (cut, scores[cut:])):
        for row, level in escalations(state, part, threshold):
            state.level = level
            parts.append((start + row, level))
    assert parts == whole


@given(SCORES, SCORES)
def test_top_rows_are_the_highest_and_the_earlier_of_equals(first, second):
    detection = Detection(np.zeros(1, np.int64), 0)
    assert detection.add(make_scores(first)) == 0
    assert detection.add(make_scores(second)) == len(first)
    event = np.round([*first, *second], 4)
    expected = sorted(range(len(event)), key=lambda row: (-event[row], row))[:3]
    assert detection.top_rows(len(event), 3) == expected


def test_a_window_keeps_its_own_scores_in_few_pieces():
    """Not slices, each of which would keep its whole batch in memory for as long as the window is open."""
    batch, detection = make_scores([1.0] * 1000), Detection(np.zeros(1, np.int64), 0)
    for row in range(1000):
        assert detection.add(batch.slice(row, row + 1)) == row
    assert len(detection.parts) <= 65
    assert all(part.event.base is None for part in detection.parts)
    assert len(detection.scores) == 1000
