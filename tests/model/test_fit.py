"""From windows to a bundle's parts: which windows go where, and that live scores mean what calibration saw."""

import dataclasses

import numpy as np
import pytest

from longwatch.model.bundle import open_bundle, write_bundle
from longwatch.model.calibrate import Calibration
from longwatch.model.config import ModelConfig, TrainConfig
from longwatch.model.dataset import Windows, split_interleaved
from longwatch.model.evidence import Evidence
from longwatch.model.fit import Fitted, days_of, fit
from longwatch.model.scorer import open_scorer
from longwatch.model.surprise import surprise_of
from support.windows import make_tokens, make_windows

SMALL = ModelConfig(
    d_model=16, num_heads=2, num_kv_heads=1, layers=("sliding(8)",), block_size=8, word_buckets=64, max_words=8
)
QUICK = TrainConfig(max_steps=20, tokens_per_batch=1024, validation_every=10, device="cpu", learning_rate=5e-3)
WINDOWS = make_windows(80, seed=3, longest=40)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit(WINDOWS, SMALL, QUICK, '{"t":1}', {"pipeline": {"a": 1}}, {"test": "1"})


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_windows_are_divided_as_the_training_configuration_says(fitted):
    expected = split_interleaved(WINDOWS, QUICK.early_stop_share, QUICK.calibration_share)
    for part in ("fit", "early_stop", "calibration"):
        assert np.array_equal(getattr(fitted.split, part).start_ms, getattr(expected, part).start_ms)


def test_evidence_is_what_all_windows_held_so_that_no_normal_one_is_news_twice(fitted):
    assert same(fitted.parts.evidence.to_arrays(), Evidence.fit(WINDOWS.tokens).to_arrays())
    assert not fitted.parts.evidence.flags(fitted.split.calibration.tokens)[:, :3].any()


def test_calibration_is_of_the_held_out_windows_alone_by_evidence_of_the_fit_windows(fitted):
    held_out = fitted.split.calibration.tokens
    signs = Evidence.fit(fitted.split.fit.tokens).signs(held_out)
    assert signs.flags.any()
    expected = Calibration.fit(surprise_of(fitted.trained, held_out), signs, held_out, fitted.days)
    assert same(fitted.parts.calibration.to_arrays(), expected.to_arrays())
    assert fitted.parts.calibration.events.total == held_out.num_scores
    assert fitted.parts.calibration.windows.total == len(fitted.split.calibration)


def test_the_bundles_scorers_give_the_surprise_that_was_calibrated(fitted, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", fitted.parts, "2026-01-01T00:00:00Z")
    held_out = fitted.split.calibration.tokens
    expected = surprise_of(fitted.trained, held_out)
    assert expected.shape == (held_out.num_scores,)
    for backend in ("onnx", "torch"):
        found = open_scorer(open_bundle(bundle.path), backend).score(held_out)
        assert np.abs(found - expected).max() < 1e-4


def test_the_bundle_keeps_what_it_was_made_with(fitted, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", fitted.parts, "2026-01-01T00:00:00Z")
    assert bundle.config == {"pipeline": {"a": 1}, "model": SMALL.to_dict(), "train": QUICK.to_dict()}
    assert bundle.model_config == SMALL
    assert bundle.template_set_json == '{"t":1}'
    assert bundle.manifest["versions"] == {"test": "1"}


def test_held_out_windows_stand_for_their_share_of_the_time_that_all_span():
    start = np.arange(10, dtype=np.int64) * 86_400_000
    windows = Windows(make_tokens([5] * 10), start, start + 86_400_000)
    assert days_of(windows, 2) == pytest.approx(2.0)
    assert days_of(windows, 10) == pytest.approx(10.0)


def test_days_are_above_zero_even_where_all_windows_are_one_instant():
    windows = Windows(make_tokens([5] * 4), np.full(4, 7), np.full(4, 7))
    assert 0 < days_of(windows, 1) < 1e-4


def test_the_newest_windows_calibrate_where_the_split_is_by_time(fitted):
    by_time = dataclasses.replace(QUICK, split="time", max_steps=1, calibration_share=0.25)
    again = fit(WINDOWS, SMALL, by_time, "{}", {}, {})
    assert again.split.calibration.start_ms.tolist() == np.sort(WINDOWS.start_ms)[-20:].tolist()
    assert again.days == pytest.approx(days_of(WINDOWS, 20))
    assert fitted.split.calibration.start_ms.min() < again.split.calibration.start_ms.min()


@pytest.mark.parametrize("split", ["interleaved", "time"])
def test_too_few_windows_are_an_error_that_says_how_many_there_are(split):
    with pytest.raises(ValueError, match="found 2"):
        fit(WINDOWS.select(np.arange(2)), SMALL, dataclasses.replace(QUICK, split=split), "{}", {}, {})
