"""Surprise under freshly trained weights, before there is a bundle."""

import numpy as np
import torch
from numpy.typing import NDArray

from longwatch.model.scorer.batching import Batcher, ModelInputs
from longwatch.model.tokens import WindowTokens
from longwatch.model.train import TrainedModel, pick_device
from longwatch.model.transformer import load_transformer

SCORING_BUDGET = 8192


def surprise_of(trained: TrainedModel, tokens: WindowTokens, device: str = "cpu") -> NDArray[np.float32]:
    """Surprise under freshly trained weights, as any scorer of the bundle will give it, nats, float32 [M]."""
    place = torch.device(pick_device(device))
    model = load_transformer(trained.config, trained.vocabulary.known_words, trained.weights).to(place)
    batcher = Batcher(trained.vocabulary, trained.config, trained.config.receptive_field, SCORING_BUDGET)

    @torch.no_grad()
    def run(inputs: ModelInputs) -> NDArray[np.float32]:
        surprise: NDArray[np.float32] = (
            model(*(torch.from_numpy(array).to(place) for array in inputs.arrays)).cpu().numpy()
        )
        return surprise

    return batcher.score(tokens, run)
