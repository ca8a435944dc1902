"""Scores through ONNX Runtime, on the CPU or a CUDA device; needs no torch."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bundle import GRAPH, STEP_GRAPH, Bundle
from longwatch.model.dataset import select_windows
from longwatch.model.scorer.batching import INPUT_NAMES, Batcher, ModelInputs
from longwatch.model.scorer.onnx_session import open_session
from longwatch.model.scorer.onnx_step import StepSession
from longwatch.model.scorer.streaming import CHUNK, rows_of, score_long, split_by_length
from longwatch.model.tokens import WindowTokens

TOKEN_BUDGETS = {"cpu": 4096, "cuda": 65_536}


class OnnxScorer:
    """Scorer that holds one ONNX Runtime session, and one of the step graph once a window needs it.

    That is a window beyond the token budget whose events can depend on all before them: it cannot be cut, and whole it
    would take memory that grows with its square.
    """

    name = "onnx"

    def __init__(self, bundle: Bundle, threads: int = 1, device: str = "cpu", token_budget: int | None = None) -> None:
        config = bundle.model_config
        self._bundle, self._threads, self._device = bundle, threads, device
        self._budget = token_budget or TOKEN_BUDGETS[device]
        self._batcher = Batcher(bundle.vocabulary, config, config.receptive_field, self._budget)
        self._streams = config.receptive_field is None and bundle.has(STEP_GRAPH)
        self._session = open_session(bundle.read(GRAPH), threads, device)

    def score(self, tokens: WindowTokens) -> NDArray[np.float32]:
        """Surprise of each token not scored before, nats, float32 [M], in packed order."""
        short, long = split_by_length(tokens, self._budget)
        if not (self._streams and len(long)):
            return self._batcher.score(tokens, self._run)
        surprise = np.empty(tokens.num_scores, np.float32)
        surprise[rows_of(tokens, short)] = self._batcher.score(select_windows(tokens, short), self._run)
        surprise[rows_of(tokens, long)] = score_long(
            self._step_session, select_windows(tokens, long), self._bundle.vocabulary
        )
        return surprise

    @cached_property
    def _step_session(self) -> StepSession:
        graph, config = self._bundle.read(STEP_GRAPH), self._bundle.model_config
        return StepSession(graph, config, 1, CHUNK, self._threads, self._device)

    def _run(self, inputs: ModelInputs) -> NDArray[np.float32]:
        (surprise,) = self._session.run(None, dict(zip(INPUT_NAMES, inputs.arrays, strict=True)))
        return np.asarray(surprise, np.float32)
