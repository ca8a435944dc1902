import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.model.evaluate import (
    auroc,
    average_precision,
    bootstrap_interval,
    confusion,
    detection_delay,
    recall_at,
    sweep,
    sweep_table,
)

SCORED = st.lists(st.tuples(st.integers(0, 6).map(float), st.booleans()), min_size=1, max_size=30)


def columns(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows]), np.array([anomalous for _, anomalous in rows])


@given(SCORED)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]):
    scores, anomalous = columns(rows)
    pairs = [(a > n) + (a == n) / 2 for a in scores[anomalous] for n in scores[~anomalous]]
    expected = sum(pairs) / len(pairs) if pairs else math.nan
    assert auroc(scores, anomalous) == pytest.approx(expected, nan_ok=True)


@given(SCORED)
def test_average_precision_sums_precision_over_the_recall_each_threshold_gains(rows: list[tuple[float, bool]]):
    scores, anomalous = columns(rows)
    if not anomalous.any():
        assert math.isnan(average_precision(scores, anomalous))
        return
    expected, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        row = confusion(scores, anomalous, threshold)
        expected += (row.recall - before) * row.precision
        before = row.recall
    assert average_precision(scores, anomalous) == pytest.approx(expected)


@given(SCORED, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_recall_at_a_rate_is_the_best_of_all_thresholds_within_it(rows: list[tuple[float, bool]], rate: float):
    scores, anomalous = columns(rows)
    table = [confusion(scores, anomalous, threshold) for threshold in [*scores, math.inf]]
    expected = max((row.recall for row in table if row.false_positive_rate <= rate), default=0.0)
    assert recall_at(scores, anomalous, rate) == pytest.approx(expected)


def test_a_score_equal_to_the_threshold_alerts():
    row = confusion(np.array([1.0, 2.0, 3.0, 3.0]), np.array([False, True, True, False]), 3.0)
    assert (row.true_alarms, row.false_alarms, row.missed, row.quiet) == (1, 1, 1, 1)
    assert (row.precision, row.recall, row.f1, row.false_positive_rate) == (0.5, 0.5, 0.5, 0.5)


def test_no_alert_has_full_precision_and_no_f1():
    row = confusion(np.array([1.0, 1.0]), np.array([True, False]), 2.0)
    assert (row.precision, row.recall, row.f1) == (1.0, 0.0, 0.0)


def test_delay_counts_events_up_to_the_alert_and_minus_one_for_none():
    history = np.array([0.0, 1.0, 3.0, 0.0, 2.0, 5.0])
    assert detection_delay(history, np.array([3, 0, 2, 1]), 3.0).tolist() == [3, -1, -1, 1]


def test_a_bootstrap_interval_holds_the_figure_and_is_the_same_again():
    rng = np.random.default_rng(0)
    anomalous = np.arange(300) < 60
    scores = rng.normal(size=300) + anomalous
    low, high = bootstrap_interval(auroc, scores, anomalous, resamples=200)
    assert low < auroc(scores, anomalous) < high
    assert high - low < 0.2
    assert (low, high) == bootstrap_interval(auroc, scores, anomalous, resamples=200)


def test_a_sweep_has_a_row_for_each_threshold():
    scores, anomalous = np.array([0.0, 1.0, 2.0]), np.array([False, False, True])
    rows = sweep(scores, anomalous, [2.0, 1.0])
    assert [row.false_alarms for row in rows] == [0, 1]
    assert sweep_table(rows).splitlines()[2:] == [
        "| 2.000 | 1.000 | 1.000 | 1.000 | 0 | 0.00% |",
        "| 1.000 | 0.500 | 1.000 | 0.667 | 1 | 50.00% |",
    ]
