"""Scores through ONNX Runtime, on the CPU or a CUDA device; needs no torch."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from longwatch.model.bundle import GRAPH, Bundle
from longwatch.model.scorer.batching import INPUT_NAMES, Batcher, ModelInputs
from longwatch.model.scorer.unavailable import ScorerUnavailableError
from longwatch.model.tokens import WindowTokens

TOKEN_BUDGETS = {"cpu": 4096, "cuda": 65_536}
CUDA = "CUDAExecutionProvider"


class OnnxScorer:
    """Scorer that holds one ONNX Runtime session."""

    name = "onnx"

    def __init__(self, bundle: Bundle, threads: int = 1, device: str = "cpu", token_budget: int | None = None) -> None:
        config = bundle.model_config
        budget = token_budget or TOKEN_BUDGETS[device]
        self._batcher = Batcher(bundle.vocabulary, config, config.receptive_field, budget)
        self._session = onnxruntime.InferenceSession(
            bundle.read(GRAPH), sess_options=_options(threads), providers=_providers(device)
        )

    def score(self, tokens: WindowTokens) -> NDArray[np.float32]:
        """Surprise of each token not scored before, nats, float32 [M], in packed order."""
        return self._batcher.score(tokens, self._run)

    def _run(self, inputs: ModelInputs) -> NDArray[np.float32]:
        (surprise,) = self._session.run(None, dict(zip(INPUT_NAMES, inputs.arrays, strict=True)))
        return np.asarray(surprise, np.float32)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Arena and memory plans keep the largest batch ever seen, one plan a shape; batches here have many shapes.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if CUDA not in onnxruntime.get_available_providers():
        raise ScorerUnavailableError(
            "device cuda: this onnxruntime has no CUDA provider; pip install 'longwatch[gpu]', or use device cpu"
        )
    return [(CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"]
