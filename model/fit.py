"""From a history's windows to everything a bundle holds: split in time, train, gather evidence, calibrate, export."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from longwatch.model.bundle import BundleParts
from longwatch.model.calibrate import Calibration
from longwatch.model.config import ModelConfig, TrainConfig
from longwatch.model.dataset import Split, Windows, split_in_time
from longwatch.model.evidence import Evidence
from longwatch.model.export import export_onnx
from longwatch.model.scorer.batching import Batcher, ModelInputs
from longwatch.model.tokens import WindowTokens
from longwatch.model.train import Progress, TrainedModel, train
from longwatch.model.transformer import load_transformer

DAY_MS = 86_400_000
SCORING_BUDGET = 8192


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
    """Fits a detector to normal windows: the oldest train, the next stop the training, the newest calibrate.

    config: JSON-able, kept in the bundle beside `model` and `train`. Raises ValueError for fewer than 3 windows.
    """
    split = split_in_time(windows)
    tokens = split.fit.tokens
    trained = train(model_config, train_config, tokens, split.early_stop.tokens, tokens.templates, progress)
    evidence, held_out, days = Evidence.fit(tokens), split.calibration.tokens, days_of(split.calibration)
    calibration = Calibration.fit(surprise_of(trained, held_out), evidence.flags(held_out), held_out, days)
    kept = {**config, "model": model_config.to_dict(), "train": train_config.to_dict()}
    onnx = export_onnx(trained)
    parts = BundleParts(
        trained.weights, onnx, template_set_json, trained.vocabulary, evidence, calibration, kept, versions
    )
    return Fitted(parts, trained, split, days)


def days_of(windows: Windows) -> float:
    """How long live traffic takes to bring as many windows: from first start to last, a window's length where equal."""
    first, last = int(windows.start_ms.min()), int(windows.start_ms.max())
    span = last - first if last > first else int(windows.end_ms.max()) - first
    return max(span, 1000) / DAY_MS


def surprise_of(trained: TrainedModel, tokens: WindowTokens) -> NDArray[np.float32]:
    """Surprise under freshly trained weights, as any scorer of the bundle will give it, nats, float32 [M]."""
    model = load_transformer(trained.config, trained.vocabulary.known_words, trained.weights)
    batcher = Batcher(trained.vocabulary, trained.config, trained.config.receptive_field, SCORING_BUDGET)

    @torch.no_grad()
    def run(inputs: ModelInputs) -> NDArray[np.float32]:
        surprise: NDArray[np.float32] = model(*(torch.from_numpy(array) for array in inputs.arrays)).numpy()
        return surprise

    return batcher.score(tokens, run)
