"""Scores through the Triton kernels on a CUDA device: pieces of windows packed one after another, none padded."""

import os
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from longwatch.model.bundle import Bundle
from longwatch.model.scorer.batching import Pieces, TokenColumns, cut
from longwatch.model.scorer.torch import load_network
from longwatch.model.scorer.unavailable import ScorerUnavailableError
from longwatch.model.stream import EventRows, StreamNetwork
from longwatch.model.tokens import WindowTokens

WIDTHS = (16, 32, 64, 128)  # of a head
TOKEN_BUDGET = 1 << 18  # tokens of one run through the network
CELL_BUDGET = 1 << 16  # tokens of one piece: it decides where windows are cut, so on it hang the scores' last bits


class TritonScorer:
    """Scorer whose weights are rounded to `dtype`; a score has the same bits whatever it is packed with."""

    name = "triton"

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        dtype: torch.dtype = torch.float16,
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        _check(bundle, device)
        self._vocabulary, self._config, self._budget = bundle.vocabulary, bundle.model_config, token_budget
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = StreamNetwork(load_network(bundle), self._device, dtype)

    def score(self, tokens: WindowTokens) -> NDArray[np.float32]:
        """Surprise of each token not scored before, nats, float32 [M], in packed order."""
        if tokens.num_scores == 0:
            return np.zeros(0, np.float32)
        columns = TokenColumns.of(tokens, self._vocabulary, self._config)
        lexicon = (columns.lexicon_words, columns.lexicon_known)
        events = self._network.events(*(torch.from_numpy(each).to(self._device) for each in lexicon))
        pieces = cut(tokens, self._config.block_size, self._config.receptive_field, CELL_BUDGET)
        surprise = np.full(len(tokens.template_id), np.nan, np.float32)
        for batch in packed_batches(pieces, self._budget):
            rows, bounds, wanted = packed_rows(batch)
            surprise[rows[wanted]] = self._run(events, columns, rows, bounds)[wanted]
        return surprise[tokens.unscored_rows()]

    def _run(
        self, events: torch.Tensor, columns: TokenColumns, rows: NDArray[np.int64], bounds: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        inputs = (columns.token, columns.gap, columns.shape, columns.target)
        token, gap, shape, target = (column[rows] for column in inputs)
        there = EventRows.of(token, gap, shape, target, self._device)
        found: NDArray[np.float32] = self._network.whole(events, there, bounds).cpu().numpy()
        return found


def packed_batches(pieces: Pieces, token_budget: int) -> Iterator[Pieces]:
    """Pieces in their order, at most `token_budget` tokens or one piece at a time."""
    ends = np.cumsum(pieces.length)
    at = 0
    while at < len(ends):
        before = ends[at - 1] if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + token_budget, side="right")))
        yield pieces.select(np.arange(at, stop))
        at = stop


def packed_rows(pieces: Pieces) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Packed row of each token of the pieces, int64 [T]; their bounds, int64 [P + 1]; whether its score is wanted."""
    bounds = np.concatenate([[0], np.cumsum(pieces.length)])
    step = np.arange(bounds[-1]) - np.repeat(bounds[:-1], pieces.length)
    rows = np.repeat(pieces.first, pieces.length) + step
    return rows, bounds, step >= np.repeat(pieces.skip, pieces.length)


def _check(bundle: Bundle, device: str) -> None:
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        raise ScorerUnavailableError("backend triton: torch sees no CUDA device here; use backend onnx or torch")
    if device == "cpu":
        raise ScorerUnavailableError("backend triton: runs on CUDA devices alone, not with device: cpu; leave it out")
    if (width := bundle.model_config.head_dim) not in WIDTHS:
        expected = ", ".join(map(str, WIDTHS))
        raise ScorerUnavailableError(
            f"backend triton: the bundle's heads are {width} wide, expected one of {expected}; use backend torch"
        )
