"""Scores through torch, on the CPU (the reference) or a CUDA device."""

import numpy as np
import torch
from numpy.typing import NDArray

from longwatch.model.bundle import WEIGHTS, Bundle, BundleError
from longwatch.model.scorer.batching import Batcher, ModelInputs
from longwatch.model.scorer.unavailable import ScorerUnavailableError
from longwatch.model.tokens import WindowTokens
from longwatch.model.transformer import EventTransformer, load_transformer

TOKEN_BUDGETS = {"cpu": 4096, "cuda": 65_536}


class TorchScorer:
    """Scorer that holds the network's weights as float32."""

    name = "torch"

    def __init__(self, bundle: Bundle, threads: int = 1, device: str = "cpu", token_budget: int | None = None) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ScorerUnavailableError("device cuda: torch sees no CUDA device here; use device cpu")
        torch.set_num_threads(threads)
        config = bundle.model_config
        budget = token_budget or TOKEN_BUDGETS[device]
        self._batcher = Batcher(bundle.vocabulary, config, config.receptive_field, budget)
        self._device = torch.device(device)
        self._model = load_network(bundle).to(self._device)

    def score(self, tokens: WindowTokens) -> NDArray[np.float32]:
        """Surprise of each token not scored before, nats, float32 [M], in packed order."""
        return self._batcher.score(tokens, self._run)

    @torch.no_grad()
    def _run(self, inputs: ModelInputs) -> NDArray[np.float32]:
        tensors = (torch.from_numpy(array).to(self._device) for array in inputs.arrays)
        surprise: NDArray[np.float32] = self._model(*tensors).cpu().numpy()
        return surprise


def load_network(bundle: Bundle) -> EventTransformer:
    """The network of a bundle on the CPU; raises BundleError where its weights do not fit its config."""
    try:
        return load_transformer(bundle.model_config, bundle.vocabulary.known_words, bundle.arrays(WEIGHTS))
    except RuntimeError as error:
        raise BundleError(
            f"{bundle.path / WEIGHTS}: does not fit the config: {error}; make the bundle again"
        ) from error
