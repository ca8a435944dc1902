"""Windows on disk and in batches: saved without pickle, split in time, cut into crops, packed by length."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from longwatch.model.scorer.batching import Pieces, plan_batches
from longwatch.model.tokens import WindowTokens

GOLDEN_RATIO = (5**0.5 - 1) / 2
TOKEN_ARRAYS = ("template_id", "gap_ms", "parameter_chars", "cu_seqlens", "scored")


@dataclass(frozen=True)
class Windows:
    """B windows and when they began and ended, event time in ms, int64 [B] each."""

    tokens: WindowTokens
    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]

    def __post_init__(self) -> None:
        num_windows = len(self.tokens.scored)
        if not len(self.start_ms) == len(self.end_ms) == num_windows:
            raise ValueError(
                f"expected a start and an end for each of {num_windows} windows, "
                f"found {len(self.start_ms)} and {len(self.end_ms)}"
            )

    def __len__(self) -> int:
        return len(self.start_ms)

    def select(self, index: NDArray[np.int64]) -> "Windows":
        """The windows with these numbers, in this order."""
        return Windows(select_windows(self.tokens, index), self.start_ms[index], self.end_ms[index])

    def save(self, path: Path) -> None:
        """Writes the windows as one safetensors file, the template texts as UTF-8 JSON inside it."""
        texts = json.dumps({str(i): text for i, text in sorted(self.tokens.templates.items())})
        arrays = {name: np.ascontiguousarray(getattr(self.tokens, name)) for name in TOKEN_ARRAYS}
        arrays |= {"start_ms": self.start_ms, "end_ms": self.end_ms}
        arrays["templates_json"] = np.frombuffer(texts.encode(), np.uint8)
        save_file(arrays, path)

    @classmethod
    def load(cls, path: Path) -> "Windows":
        """Windows that `save` wrote; raises ValueError naming the file for anything else."""
        arrays = load_file(path)
        missing = [name for name in (*TOKEN_ARRAYS, "start_ms", "end_ms", "templates_json") if name not in arrays]
        if missing:
            raise ValueError(f"{path}: expected windows, found no {', '.join(missing)}; write it with longwatch train")
        texts = json.loads(arrays["templates_json"].tobytes().decode())
        columns = {name: arrays[name] for name in TOKEN_ARRAYS}
        tokens = WindowTokens(**columns, templates={int(i): text for i, text in texts.items()})
        return cls(tokens, arrays["start_ms"], arrays["end_ms"])


@dataclass(frozen=True)
class Split:
    """Windows to fit weights, to stop early, and to calibrate."""

    fit: Windows
    early_stop: Windows
    calibration: Windows


def split_in_time(windows: Windows, early_stop: float = 0.1, calibration: float = 0.1) -> Split:
    """Splits by window start, stable for equal starts; the two arguments are shares of the number of windows."""
    if early_stop <= 0 or calibration <= 0 or early_stop + calibration >= 1:
        raise ValueError(f"expected shares above 0 that leave some to fit, found {early_stop} and {calibration}")
    order = np.argsort(windows.start_ms, kind="stable")
    held_out = [max(1, round(len(windows) * share)) for share in (early_stop, calibration)]
    num_fit = len(windows) - sum(held_out)
    if num_fit < 1:
        raise ValueError(f"expected 3 windows or more to split, found {len(windows)}; replay a longer time")
    parts = np.split(order, [num_fit, num_fit + held_out[0]])
    return Split(*(windows.select(part) for part in parts))


def split_interleaved(windows: Windows, early_stop: float = 0.1, calibration: float = 0.2) -> Split:
    """Splits so that each part holds windows of the whole time, stable for equal starts; a pure function of the order.

    For figures of how scores lie within the history's own time: its rhythm is in every part. What comes later may
    differ, which `split_in_time` shows and this cannot. Window k goes by the fractional part of k times the golden
    ratio, which spreads each part as evenly as any rule can.
    """
    order = np.argsort(windows.start_ms, kind="stable")
    return Split(*(windows.select(order[part]) for part in interleaved(len(windows), early_stop, calibration)))


def interleaved(count: int, early_stop: float, calibration: float) -> list[NDArray[np.int64]]:
    """Numbers 0 to `count` - 1 dealt to fit, early stop and calibration as `split_interleaved` says."""
    if early_stop <= 0 or calibration <= 0 or early_stop + calibration >= 1:
        raise ValueError(f"expected shares above 0 that leave some to fit, found {early_stop} and {calibration}")
    place = np.arange(1, count + 1) * GOLDEN_RATIO % 1
    bounds = (0.0, 1 - early_stop - calibration, 1 - calibration, 1.0)
    parts = [np.flatnonzero((place >= low) & (place < high)) for low, high in pairwise(bounds)]
    if not all(len(part) for part in parts):
        raise ValueError(
            f"expected windows for each part, found {count} in all, too few for the shares {early_stop} and "
            f"{calibration}; replay a longer time"
        )
    return parts


def select_windows(tokens: WindowTokens, index: NDArray[np.int64]) -> WindowTokens:
    """The windows with these numbers, in this order, packed anew."""
    lengths = tokens.lengths[index].astype(np.int64)
    ends = np.cumsum(lengths)
    rows = np.repeat(tokens.cu_seqlens[index] - (ends - lengths), lengths) + np.arange(lengths.sum())
    return WindowTokens(
        tokens.template_id[rows],
        tokens.gap_ms[rows],
        tokens.parameter_chars[rows],
        np.concatenate([[0], ends]).astype(np.int32),
        tokens.scored[index],
        tokens.templates,
    )


def crops(tokens: WindowTokens, max_tokens: int) -> Pieces:
    """Every window as crops of at most `max_tokens`; `skip` counts a crop's tokens that have no target.

    A crop that begins inside its window skips its first token: what stood before it was cut away.
    """
    counts = np.maximum(1, -(-tokens.lengths // max_tokens))
    window = np.repeat(np.arange(len(counts)), counts)
    part = np.arange(len(window)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = part * max_tokens
    length = np.minimum(tokens.lengths[window] - start, max_tokens)
    skip = np.maximum(tokens.scored[window] - start, (part > 0).astype(np.int64))
    kept = (length > 0) & (skip < length)
    pieces = Pieces(tokens.cu_seqlens[window] + start, length, skip)
    return pieces.select(np.flatnonzero(kept))


def shuffled_batches(
    pieces: Pieces, block_size: int, tokens_per_batch: int, rng: np.random.Generator
) -> Iterator[Pieces]:
    """One epoch: batches of crops of like length, which crop meets which and the order of batches drawn from `rng`."""
    mixed = pieces.select(rng.permutation(len(pieces.first)))
    batches = plan_batches(mixed, block_size, tokens_per_batch)
    for number in rng.permutation(len(batches)):
        yield mixed.select(batches[number])
