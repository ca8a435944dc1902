"""A threshold that saw a label cannot be made, and labels open only against what is frozen."""

import numpy as np
import pytest

from longwatch.model.bench.threshold import Budget, Frozen, NormalScores, TestScores, Threshold, UnitScores
from longwatch.model.bench.truth import SealedTruth, Truth


def normals(*scores: float, days: float = float("nan")) -> NormalScores:
    return NormalScores(np.array(scores, dtype=np.float64), None, days)


def one_wrong() -> Truth:
    return Truth(np.array([False, True]), np.array([0]), np.array([1]), np.array([3]), ("attack",))


@pytest.mark.parametrize("kind", [TestScores, UnitScores])
def test_a_threshold_is_not_made_of_scores_that_may_have_been_chosen_by_label(kind):
    with pytest.raises(TypeError, match="NormalScores"):
        Threshold(kind(np.array([1.0, 2.0])), Budget(share=0.1))


def test_a_threshold_cannot_be_given_as_a_number():
    with pytest.raises(TypeError):
        Threshold(2.5, Budget(share=0.1))
    with pytest.raises(AttributeError):
        Threshold(normals(1, 2, 3), Budget(share=0.1)).value = 2.5


def test_a_threshold_keeps_normals_to_its_share():
    scores = np.random.default_rng(0).normal(size=999)
    value = Threshold(normals(*scores), Budget(share=0.05)).value
    assert 40 <= int((scores >= value).sum()) <= 50


def test_a_budget_a_day_counts_days_of_the_calibration_units():
    scores = np.arange(1000.0)
    value = Threshold(normals(*scores, days=2.0), Budget(per_day=10)).value
    assert 16 <= int((scores >= value).sum()) <= 20


def test_a_budget_a_day_without_times_is_refused():
    with pytest.raises(ValueError, match="needs times"):
        _ = Threshold(normals(1, 2, 3), Budget(per_day=1)).value


@pytest.mark.parametrize("wrong", [{}, {"share": 0.1, "per_day": 1}, {"share": 0}, {"per_day": -1}])
def test_a_budget_is_one_number_above_zero(wrong):
    with pytest.raises(ValueError, match="one number above 0"):
        Budget(**wrong)


def test_labels_stay_sealed_until_scores_and_thresholds_are_frozen():
    sealed = SealedTruth(one_wrong())
    with pytest.raises(TypeError, match="frozen"):
        sealed.open([])
    with pytest.raises(TypeError, match="frozen"):
        sealed.open([TestScores(np.zeros(2))])
    assert [name for name in vars(SealedTruth) if not name.startswith("_")] == ["labelled", "open"]
    threshold = Threshold(normals(1, 2, 3), Budget(share=0.5))
    assert sealed.open([Frozen("any", 0, TestScores(np.zeros(2)), (threshold,))]).names == ("attack",)


def test_frozen_scores_cannot_be_changed():
    frozen = Frozen("any", 0, TestScores(np.zeros(2)), ())
    with pytest.raises(ValueError, match="read-only"):
        frozen.scores.final[0] = 1


def test_frozen_results_take_no_bare_scores():
    with pytest.raises(TypeError):
        Frozen("any", 0, normals(1, 2), ())


def test_every_anomalous_unit_belongs_to_an_incident():
    with pytest.raises(ValueError, match="incident"):
        Truth(np.array([True, True]), np.array([0]), np.array([1]), np.array([3]), ("attack",))
