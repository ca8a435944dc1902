"""Trains the network of every exported case and seed and saves the surprise that `longwatch bench --surprise` reads.

Needs torch, NumPy, safetensors and `longwatch.model`; no log parsing: `python train.py TOKENS OUT --workers 12`.
Each case is trained four times a seed: on all of its past, on what leaves calibration units out, and on what came
before each of two borders, so that normal scores are of units later than the training, as test scores are.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.case import Case
from longwatch.model.bench.forward import LEAST_UNITS, NETWORK_BORDERS, forward_blocks
from longwatch.model.bench.surprise_files import load_cases, packed, surprise_key
from longwatch.model.bench.units import Past, Units
from longwatch.model.config import ModelConfig, TrainConfig

FILE_BYTES = 8 << 20  # before compression, past which the next file begins


@dataclass(frozen=True)
class Settings:
    """The same network and training for every set, after `feasibility.md`: nothing is tuned to one."""

    width: int = 192
    depth: int = 4
    span: int = 32
    steps: int = 1000
    batch: int = 8192
    device: str = "auto"

    @property
    def model(self) -> ModelConfig:
        """All layers sliding."""
        heads = self.width // 32
        layers = (f"sliding({self.span})",) * self.depth
        return ModelConfig(self.width, heads, heads // 2, layers, dropout=0.15, block_size=32)

    def training(self, seed: int) -> TrainConfig:
        """Ends early where held-out units gain no more."""
        return TrainConfig(
            seed=seed,
            max_steps=self.steps,
            max_epochs=1000,
            tokens_per_batch=self.batch,
            max_window_tokens=min(1024, self.batch),
            learning_rate=1e-3,
            validation_every=25,
            patience=8,
            device=self.device,
        )


@dataclass(frozen=True)
class Training:
    """One network to train, and the units it is asked about."""

    name: str
    seed: int
    past: Past
    scored: tuple[Units, ...]

    @property
    def size(self) -> int:
        """Tokens to learn from: how long it takes."""
        return len(self.past.fit.windows.tokens.template_id)


def trainings(case: Case, seed: int) -> Iterator[Training]:
    """The four of a case and seed; too short a past is not divided in time."""
    past = case.past(seed)
    yield Training(case.name, seed, past.spent, (case.test,))
    yield Training(case.name, seed, past, (past.calibration, case.test))
    if len(past.whole) >= LEAST_UNITS:
        for earlier, block in forward_blocks(past, NETWORK_BORDERS):
            yield Training(case.name, seed, earlier.spent, (block,))


def train_one(job: tuple[Training, Settings, float]) -> tuple[dict[str, NDArray[np.uint16]], dict[str, object]]:
    """Surprise by key, and what the training was like; nothing after the deadline."""
    work, settings, deadline = job
    about: dict[str, object] = {"case": work.name, "seed": work.seed, "fit_tokens": work.size}
    if time.time() > deadline:
        return {}, about | {"skipped": True}
    import torch

    from longwatch.model.surprise import surprise_of
    from longwatch.model.train import train

    torch.set_num_threads(1)
    begun, fit, tune = time.perf_counter(), work.past.fit.windows.tokens, work.past.tune.windows.tokens
    trained = train(settings.model, settings.training(work.seed), fit, tune, fit.templates)
    found = {
        surprise_key(work.past, work.seed, units): packed(surprise_of(trained, units.windows.tokens, settings.device))
        for units in work.scored
    }
    about |= {"steps": trained.history[-1][0], "validation_nll": round(trained.validation_nll, 4)}
    return found, about | {"seconds": round(time.perf_counter() - begun, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=200, help="no training begins later")
    for name, value in vars(Settings()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    options = parser.parse_args()
    settings = Settings(**{name: getattr(options, name) for name in vars(Settings())})
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cases = [case for path in sorted(options.tokens.glob("*.npz")) for case in load_cases(path)]
    jobs = [work for case in cases for seed in range(options.seeds) for work in trainings(case, seed)]
    jobs.sort(key=lambda work: (work.seed, -work.size))  # where time runs out, the last seeds are missing
    deadline = time.time() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    part = Part(options.out)
    try:
        with get_context("spawn").Pool(options.workers) as pool, (options.out / "trainings.jsonl").open("w") as log:
            for found, about in pool.imap_unordered(train_one, [(work, settings, deadline) for work in jobs]):
                print(line := json.dumps(about), flush=True)
                print(line, file=log, flush=True)
                part.add(found)
    finally:
        part.write()


class Part:
    """The file that is being filled; what was trained is kept whatever ends the run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        self.kept: dict[str, NDArray[np.uint16]] = {}

    def add(self, found: dict[str, NDArray[np.uint16]]) -> None:
        """Writes the file once it is large enough."""
        self.kept |= found
        if sum(array.nbytes for array in self.kept.values()) > FILE_BYTES:
            self.write()

    def write(self) -> None:
        """Nothing where nothing was added."""
        if self.kept:
            np.savez_compressed(self.folder / f"surprise-{self.number}.npz", allow_pickle=False, **self.kept)
            self.number, self.kept = self.number + 1, {}


if __name__ == "__main__":
    main()
