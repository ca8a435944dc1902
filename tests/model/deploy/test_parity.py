"""The gate: a graph that decides otherwise than the weights is not written, and the report says what was seen."""

import dataclasses

import numpy as np
import pytest

from longwatch.model.bundle import GRAPH, STEP_GRAPH, WEIGHTS, Bundle
from longwatch.model.deploy.golden import golden_windows
from longwatch.model.deploy.package import parts_of, write_judged
from longwatch.model.deploy.parity import Limits, Parity, compare, rank_correlation
from longwatch.model.export import ExportError
from longwatch.model.scorer.torch import TorchScorer
from support.windows import make_tokens

NOW = "2026-01-01T00:00:00Z"


def test_graphs_that_agree_are_written_with_their_report(hybrid: Bundle, tmp_path):
    golden = golden_windows(hybrid, windows=8, length=100)
    written, found = write_judged(tmp_path / "b", parts_of(hybrid), golden, NOW, Limits(), "a test")
    assert found.keys() == {GRAPH, STEP_GRAPH}
    report = written.manifest["parity"]
    assert report["golden"] == "a test"
    for name in (GRAPH, STEP_GRAPH):
        assert report["graphs"][name]["events"] == 800
        assert report["graphs"][name]["changed"] == 0
        assert report["graphs"][name]["largest_difference"] < 1e-4
    assert written.digest == hybrid.digest


def test_weights_that_the_graphs_were_not_made_from_are_refused_and_nothing_is_left(hybrid: Bundle, tmp_path):
    noise = np.random.default_rng(0)
    weights = {
        name: array + noise.normal(0, 0.2, array.shape).astype(np.float32)
        for name, array in hybrid.arrays(WEIGHTS).items()
    }
    parts = dataclasses.replace(parts_of(hybrid), weights=weights)
    with pytest.raises(ExportError, match=rf"{GRAPH}: .*; nothing was written"):
        write_judged(tmp_path / "b", parts, make_tokens([200] * 5), NOW, Limits(), "a test")
    assert list(tmp_path.iterdir()) == []


def test_one_changed_decision_in_ten_thousand_is_allowed_and_two_are_not():
    parity = Parity(10_000, 10, 0.0, 1, 1.0)
    assert parity.refusal(Limits()) is None
    assert "2 of 10,000 golden events" in str(dataclasses.replace(parity, changed=2).refusal(Limits()))


@pytest.mark.parametrize("value", [float("nan"), 0.9])
def test_scores_in_another_order_are_refused(value):
    assert "rank correlation" in str(Parity(10_000, 10, 0.0, 0, value).refusal(Limits()))


def test_a_score_that_is_no_number_is_refused():
    assert Parity(10_000, 10, float("nan"), 0, 1.0).refusal(Limits()) == "a score is not a number"


def test_a_shift_across_a_threshold_counts_as_changed(bundle: Bundle):
    tokens = make_tokens([300] * 4, seed=1)
    surprise = TorchScorer(bundle).score(tokens)
    found = surprise.copy()
    found[10] += 50
    parity = compare(surprise, found, tokens, bundle.evidence, bundle.calibration)
    assert parity.changed >= 1
    assert parity.largest_difference == pytest.approx(50, rel=1e-3)
    assert compare(surprise, surprise, tokens, bundle.evidence, bundle.calibration).changed == 0


def test_rank_correlation_is_of_orders_not_of_sizes():
    values = np.array([1, 2, 3, 4, 5], np.float32)
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert np.isnan(rank_correlation(values, np.full(5, np.nan, np.float32)))


def test_golden_windows_are_a_pure_function_of_bundle_and_seed(bundle: Bundle):
    first, again, other = (golden_windows(bundle, 4, 50, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.template_id, again.template_id)
    assert not np.array_equal(first.template_id, other.template_id)


def test_golden_windows_surprise_the_network_less_than_random_ones(bundle: Bundle):
    golden = golden_windows(bundle, 16, 100)
    random = dataclasses.replace(golden, template_id=np.random.default_rng(0).permutation(golden.template_id))
    scorer = TorchScorer(bundle)
    assert np.median(scorer.score(golden)) < np.median(scorer.score(random))
