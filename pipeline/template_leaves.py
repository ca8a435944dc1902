"""Messages to leaves by number, each distinct leaf kept once, in bounded memory."""

import secrets
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.pipeline.template_kernel import LEAF_BYTES, SCRATCH_BYTES, LeafArrays, number_leaves
from longwatch.pipeline.template_masks import Masks

LEAVES = 1 << 16
_ARENA_WORDS = 1 << 21

_NO_MASKS = Masks()
_NOTHING = np.frombuffer(b"", np.uint8)  # read-only, as all bytes from Polars: the kernel is compiled for that

# One call into Polars, whatever the number of rows: each costs as much as 20 lines.
_COLUMNS = (
    pl.col("text").str.join("").cast(pl.Binary),
    pl.col("text").str.len_bytes().implode().alias("sizes"),
    pl.col("message").str.len_chars().cast(pl.Int32).implode().alias("chars"),
)


class Numbered(NamedTuple):
    """Leaf number and characters of consecutive messages, and the leaves first seen there, whose numbers follow those
    given before; where `anew`, the table had run full, and all numbers begin at 0 again.
    """

    numbers: NDArray[np.uint32]
    chars: NDArray[np.int32]
    new_leaves: list[str]
    anew: bool


class LeafTable:
    """Numbers leaves as they are first seen, for one thread; starts anew when it holds `limit` of them.

    Its hash has a secret key, so that no sender can choose leaves that collide, and leaves are compared in full: a
    collision could cost time, never give a wrong leaf.
    """

    def __init__(self, masks: Masks = _NO_MASKS, limit: int = LEAVES) -> None:
        self._masks = masks
        self._key = np.frombuffer(secrets.token_bytes(16), np.uint64)
        scratch = np.zeros(SCRATCH_BYTES // 8, np.uint64)
        self._table = LeafArrays(
            slots=np.zeros(1 << (2 * limit).bit_length(), np.int32),
            hashes=np.empty(limit, np.uint64),
            starts=np.empty(limit, np.int64),
            sizes=np.empty(limit, np.int32),
            arena=np.empty(min(limit * (LEAF_BYTES // 8 + 1), _ARENA_WORDS), np.uint64),
            used=np.zeros(2, np.int64),
            scratch=scratch.view(np.uint8),
            scratch_words=scratch,
        )
        # Compiles where nothing is in the cache yet: at the start, not while records wait.
        self._number(_NOTHING, np.zeros(0, np.int64), 0, np.zeros(0, np.uint32))

    def number(self, messages: pl.Series) -> Iterator[Numbered]:
        """Numbers of all messages (String, no nulls), in one piece unless the table runs full."""
        data, ends, chars = _columns(self._masks.mask(messages), messages)
        numbers = np.empty(len(ends), np.uint32)
        done, anew = 0, False
        while True:
            known = int(self._table.used[0])
            stop = self._number(data, ends, done, numbers)
            yield Numbered(numbers[done:stop], chars[done:stop], self._leaves_from(known), anew)
            if stop == len(ends):
                return
            done, anew = stop, True
            self._clear()

    def _number(self, data: NDArray[np.uint8], ends: NDArray[np.int64], first: int, numbers: NDArray[np.uint32]) -> int:
        return int(number_leaves(data, ends, first, numbers, self._table, self._key))

    def _leaves_from(self, number: int) -> list[str]:
        table, content = self._table, self._table.arena.view(np.uint8)
        starts = (table.starts[number : table.used[0]] * 8).tolist()
        sizes = table.sizes[number : table.used[0]].tolist()
        return [content[at : at + size].tobytes().decode() for at, size in zip(starts, sizes, strict=True)]

    def _clear(self) -> None:
        self._table.slots.fill(0)
        self._table.used.fill(0)


def leaves(messages: pl.Series, masks: Sequence[str] = ()) -> pl.Series:
    """Leaf of each message, String."""
    found = []
    for piece in LeafTable(Masks(tuple(masks)), max(1, len(messages))).number(messages):
        found += [pl.Series(piece.new_leaves, dtype=pl.String).gather(piece.numbers)]
    return pl.concat(found)


def _columns(texts: pl.Series, messages: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """All bytes of `texts` in a row, where each text ends in them, and the characters of each message."""
    frame = pl.DataFrame([texts.alias("text"), messages.alias("message")]).select_seq(_COLUMNS)
    whole, sizes, chars = (column.item() for column in frame.get_columns())
    return np.frombuffer(whole, np.uint8), np.cumsum(sizes.to_numpy(), dtype=np.int64), chars.to_numpy()
