"""From a history's windows to everything a bundle holds: split, train, gather evidence, calibrate, export."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longwatch.model.bundle import BundleParts
from longwatch.model.calibrate import Calibration
from longwatch.model.config import ModelConfig, TrainConfig
from longwatch.model.dataset import Split, Windows, split_in_time, split_interleaved
from longwatch.model.evidence import Evidence
from longwatch.model.export import export_onnx
from longwatch.model.successors import Successors
from longwatch.model.surprise import surprise_of
from longwatch.model.train import Progress, TrainedModel, train

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Fitted:
    """What a bundle is made of, and what a person should know of how it came about."""

    parts: BundleParts
    trained: TrainedModel
    split: Split
    days: float


def fit(
    windows: Windows,
    model_config: ModelConfig,
    train_config: TrainConfig,
    template_set_json: str,
    config: Mapping[str, Any],
    versions: Mapping[str, str],
    progress: Progress | None = None,
) -> Fitted:
    """Fits a detector to normal windows: most train, some stop the training, some calibrate.

    config: JSON-able, kept in the bundle beside `model` and `train`. Raises ValueError for too few windows.
    """
    divide = split_interleaved if train_config.split == "interleaved" else split_in_time
    split = divide(windows, train_config.early_stop_share, train_config.calibration_share)
    tokens = split.fit.tokens
    trained = train(model_config, train_config, tokens, split.early_stop.tokens, tokens.templates, progress)
    held_out, days = split.calibration.tokens, days_of(windows, len(split.calibration))
    # Held-out windows are judged by what others held, live ones by all: as odd as calibrated at most.
    signs, evidence = Evidence.fit(tokens).signs(held_out), Evidence.fit(windows.tokens)
    calibration = Calibration.fit(surprise_of(trained, held_out), signs, held_out, days)
    kept = {**config, "model": model_config.to_dict(), "train": train_config.to_dict()}
    onnx = export_onnx(trained)
    learnt = (evidence, calibration, kept, versions, Successors.fit(tokens))
    parts = BundleParts(trained.weights, onnx, template_set_json, trained.vocabulary, *learnt)
    return Fitted(parts, trained, split, days)


def days_of(windows: Windows, held_out: int) -> float:
    """How long live traffic takes to bring `held_out` windows: their share of the time that all of them span."""
    span_ms = max(int(windows.end_ms.max()) - int(windows.start_ms.min()), 1000)
    return span_ms / DAY_MS * held_out / len(windows)
