"""Packed windows as padded batches of few shapes, and scores back in packed order. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwatch.model.config import ModelConfig
from longwatch.model.tokens import WindowTokens
from longwatch.model.vocabulary import Vocabulary, gap_bucket, shape_bucket

INPUT_NAMES = ("token", "gap", "shape", "lexicon_words", "lexicon_known", "target")


@dataclass(frozen=True)
class Pieces:
    """P stretches of packed rows to run through the network, each as if it were a window; int64 [P] each.

    first: packed row of the first token. length: tokens. skip: leading tokens whose score is not wanted.
    """

    first: NDArray[np.int64]
    length: NDArray[np.int64]
    skip: NDArray[np.int64]

    def select(self, index: NDArray[np.int64]) -> "Pieces":
        """The pieces with these numbers, in this order."""
        return Pieces(self.first[index], self.length[index], self.skip[index])


@dataclass(frozen=True)
class ModelInputs:
    """What the network reads, int64: token, gap, shape, target [B, T]; lexicon_words [U, K]; lexicon_known [U]."""

    token: NDArray[np.int64]
    gap: NDArray[np.int64]
    shape: NDArray[np.int64]
    lexicon_words: NDArray[np.int64]
    lexicon_known: NDArray[np.int64]
    target: NDArray[np.int64]

    @property
    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        """The arrays in the order that the network takes them."""
        return tuple(getattr(self, name) for name in INPUT_NAMES)


@dataclass(frozen=True)
class TokenColumns:
    """Packed columns [N] of the network's inputs, made once for all the batches of one call."""

    token: NDArray[np.int64]
    gap: NDArray[np.int64]
    shape: NDArray[np.int64]
    target: NDArray[np.int64]
    lexicon_words: NDArray[np.int64]
    lexicon_known: NDArray[np.int64]

    @classmethod
    def of(cls, tokens: WindowTokens, vocabulary: Vocabulary, config: ModelConfig) -> "TokenColumns":
        """Columns of these windows."""
        lexicon = vocabulary.lexicon(tokens)
        return cls(
            lexicon.rows,
            gap_bucket(tokens.gap_ms, config.gap_buckets),
            shape_bucket(tokens.parameter_chars, config.shape_buckets),
            lexicon.targets,
            lexicon.words,
            lexicon.known,
        )

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """How many tokens have each output class that occurs, int64 [largest class + 1]."""
        return np.bincount(self.target)

    def padded(self, pieces: Pieces, width: int) -> ModelInputs:
        """One batch: the pieces side by side, zeros to the right of the shorter ones."""
        rows, inside, _ = _grid(pieces, width)
        token, gap, shape, target = (
            np.where(inside, column[rows], 0) for column in (self.token, self.gap, self.shape, self.target)
        )
        return ModelInputs(token, gap, shape, self.lexicon_words, self.lexicon_known, target)


def cut(tokens: WindowTokens, block_size: int, receptive_field: int | None, token_budget: int) -> Pieces:
    """Windows as pieces that together give every wanted score once.

    `receptive_field` is how many tokens before it a score can depend on, or None for all of them. With a number a
    window is divided into cells, each run from its receptive field before the cell on: where a token's piece begins
    hangs on its place alone, never on what was scored before, so a score has the same bits streamed and whole.
    """
    wanted = np.flatnonzero(tokens.lengths > tokens.scored)
    begin, end = tokens.scored[wanted].astype(np.int64), tokens.lengths[wanted].astype(np.int64)
    window = tokens.cu_seqlens[wanted].astype(np.int64)
    if receptive_field is None:
        return Pieces(window, end, begin)
    cell = cell_size(block_size, receptive_field, token_budget)
    first = begin // cell
    counts = (end - 1) // cell - first + 1
    part = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    window, begin, end, first = (np.repeat(column, counts) for column in (window, begin, end, first))
    border = (first + part) * cell
    begin, end = np.maximum(begin, border), np.minimum(end, border + cell)
    start = np.maximum(border - receptive_field, 0) // block_size * block_size
    return Pieces(window + start, end - start, begin - start)


def cell_size(block_size: int, receptive_field: int, token_budget: int) -> int:
    """Tokens of a cell: twice the receptive field and at least four blocks, in whole blocks, if the budget holds that.

    A longer cell costs a stream more, which runs it again from its start; a shorter one costs a replay more.
    """
    most = max(token_budget - receptive_field - block_size, receptive_field, block_size) // block_size
    return block_size * min(most, max(4, -(-2 * receptive_field // block_size)))


def padded_width(length: int, block_size: int) -> int:
    """Tokens that a piece is padded to: the block size times a power of two, or times three quarters of one."""
    blocks = -(-length // block_size)
    power = 1 << (blocks - 1).bit_length()
    return block_size * (power * 3 // 4 if 0 < blocks <= power * 3 // 4 else power)


def plan_batches(pieces: Pieces, block_size: int, token_budget: int) -> list[NDArray[np.int64]]:
    """Numbers of the pieces of each batch: one padded width a batch, at most `token_budget` tokens or one piece."""
    blocks = -(-pieces.length // block_size)
    widths = np.array([padded_width(int(b) * block_size, block_size) for b in np.unique(blocks)], np.int64)
    batches: list[NDArray[np.int64]] = []
    piece_width = widths[np.unique(blocks, return_inverse=True)[1]]
    for width in np.unique(piece_width):
        numbers = np.flatnonzero(piece_width == width)
        size = max(1, token_budget // int(width))
        batches.extend(numbers[i : i + size] for i in range(0, len(numbers), size))
    return batches


@dataclass(frozen=True)
class Batcher:
    """Scores packed windows through `run`, a function from padded inputs to surprise float32 [B, T]."""

    vocabulary: Vocabulary
    config: ModelConfig
    receptive_field: int | None
    token_budget: int

    def score(self, tokens: WindowTokens, run: Callable[[ModelInputs], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Surprise of each token not scored before, float32 [M], in packed order."""
        if tokens.num_scores == 0:
            return np.zeros(0, np.float32)
        columns = TokenColumns.of(tokens, self.vocabulary, self.config)
        block_size = self.config.block_size
        pieces = cut(tokens, block_size, self.receptive_field, self.token_budget)
        surprise = np.full(len(tokens.template_id), np.nan, np.float32)
        for numbers in plan_batches(pieces, block_size, self.token_budget):
            batch = pieces.select(numbers)
            width = padded_width(int(batch.length.max()), block_size)
            rows, _, wanted = _grid(batch, width)
            surprise[rows[wanted]] = run(columns.padded(batch, width))[wanted]
        return surprise[tokens.unscored_rows()]


def wanted_mask(pieces: Pieces, width: int) -> NDArray[np.bool_]:
    """Which places of the padded batch hold a token whose score is wanted, bool [B, T]."""
    return _grid(pieces, width)[2]


def _grid(pieces: Pieces, width: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Packed row, is a token, and has a wanted score, each [B, T]; rows outside a piece point at its first token."""
    step = np.arange(width)
    inside = step < pieces.length[:, None]
    rows = pieces.first[:, None] + np.where(inside, step, 0)
    return rows, inside, inside & (step >= pieces.skip[:, None])
