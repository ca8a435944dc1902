"""A long window through the step graph, some events at a time: time and memory linear where the pattern allows it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from longwatch.model.scorer.batching import ModelInputs, Pieces, TokenColumns
from longwatch.model.scorer.onnx_step import StepSession
from longwatch.model.tokens import WindowTokens
from longwatch.model.vocabulary import Vocabulary

# Events at once: fewer pay the call more often, more read keys that most of them do not see (ops/benchmarks/onnx_cpu).
CHUNK = 128


def score_long(session: StepSession, tokens: WindowTokens, vocabulary: Vocabulary) -> NDArray[np.float32]:
    """Surprise of each token not scored before, nats, float32 [M], packed order, one window after another."""
    found = [np.zeros(0, np.float32)]
    columns = TokenColumns.of(tokens, vocabulary, session.config)
    for first, length, skip in zip(tokens.cu_seqlens[:-1], tokens.lengths, tokens.scored, strict=True):
        if length > skip:
            found.append(stream_window(session, columns, int(first), int(length))[skip:])
    return np.concatenate(found)


def stream_window(session: StepSession, columns: TokenColumns, first: int, length: int) -> NDArray[np.float32]:
    """Surprise float32 [length] of the window that begins at packed row `first`, as a new stream in slot 0."""
    slot = np.zeros(1, np.int64)
    steps = [
        session.run(slot, np.array([start], np.int64), inputs)[0]
        for start, inputs in _steps(columns, first, length, session.chunk)
    ]
    return np.concatenate(steps)


def split_by_length(tokens: WindowTokens, longest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the windows of up to `longest` tokens, and of the others."""
    beyond = tokens.lengths > longest
    return np.flatnonzero(~beyond), np.flatnonzero(beyond)


def rows_of(tokens: WindowTokens, windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the scores of all windows are these windows', in their order, int64."""
    counts = (tokens.lengths - tokens.scored).astype(np.int64)
    starts = np.cumsum(counts) - counts
    return np.concatenate([np.zeros(0, np.int64), *(starts[w] + np.arange(counts[w]) for w in windows)])


def _steps(columns: TokenColumns, first: int, length: int, chunk: int) -> Iterator[tuple[int, ModelInputs]]:
    for start in range(0, length, chunk):
        count = min(chunk, length - start)
        one = Pieces(np.array([first + start]), np.array([count]), np.zeros(1, np.int64))
        yield start, columns.padded(one, count)
