"""Trains a contender on normal days alone, for a number of steps or seconds, whichever ends first."""

import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from long_range.catalogue import Catalogue
from long_range.contenders import LSTM, Contender
from long_range.network import Days, LongTransformer, rare_classes
from long_range.short import DeepLog
from longwatch.model.config import ModelConfig

Network = LongTransformer | DeepLog
MAX_WORDS = 8


@dataclass(frozen=True)
class Material:
    """Normal days to learn from, by their length, and how often each class comes in them."""

    catalogue: Catalogue
    days: dict[int, list[NDArray[np.int64]]]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """What a training may take; `tokens` in one step."""

    steps: int
    seconds: float
    tokens: int
    device: str


@dataclass
class Trained:
    """A network, what it needs to read a day, and how it was found."""

    contender: Contender
    network: Network
    rare: NDArray[np.bool_]
    device: str
    steps: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # mean of each 50 steps

    def days(self, some: list[NDArray[np.int64]]) -> Days:
        """Sequences as the network reads them."""
        layers = [text for text in self.contender.layers if text != LSTM]
        return Days.of(some, layers, self.rare, self.device)

    @torch.no_grad()
    def scores(self, day: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """A day's events, nats, float64 [T]: `surprise`, and by how much it exceeds what was expected there."""
        self.network.eval()
        days = self.days([day])
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            logits = self.network.logits(days)
        surprise, expected = surprise_and_entropy(logits.float(), days.events)
        found = {"surprise": surprise, "excess": surprise - expected}
        return {name: np.asarray(each.cpu().numpy(), np.float64) for name, each in found.items()}


def surprise_and_entropy(logits: torch.Tensor, events: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """-log p of what came, and its mean under the prediction, nats, float32 [T] each."""
    log_p = logits.log_softmax(dim=1)
    return -log_p.gather(1, events[:, None]).squeeze(1), -(log_p.exp() * log_p).sum(dim=1)


def train(contender: Contender, material: Material, seed: int, effort: Effort) -> Trained:
    """The network after its last step; equal arguments give equal weights on a CPU if time does not end it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    network = build(contender, material.catalogue).to(effort.device)
    trained = Trained(contender, network, rare_classes(material.counts, contender.lane_share), effort.device)
    weights = class_weights(material.counts, contender.rare_weight).to(effort.device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=contender.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    for length, _ in contender.phases:
        _step(trained, optimizer, weights, _batch(material, length, effort, rng), 0.0)  # compiles, moves nothing
    _fit(trained, optimizer, weights, material, effort, rng)
    return trained


def build(contender: Contender, catalogue: Catalogue) -> Network:
    """The untrained network."""
    if contender.layers == (LSTM,):
        return DeepLog(len(catalogue.texts) + 1)
    words = torch.from_numpy(catalogue.words(MAX_WORDS))
    config = ModelConfig(
        d_model=contender.d_model, num_heads=contender.heads, num_kv_heads=contender.heads, dropout=0.0,
        rope_base=contender.rope_base, word_buckets=int(words.max()) + 1, max_words=MAX_WORDS, **contender.shape,
    )  # fmt: skip
    return LongTransformer(
        config, contender.layers, words, shift=contender.shift, copying=contender.copying, turned=contender.turned,
        word_std=contender.word_std,
    )  # fmt: skip


def class_weights(counts: NDArray[np.int64], power: float) -> torch.Tensor:
    """count ** -power, of mean 1 over the events that were counted, float32 [V + 1]."""
    weights = (counts + 1.0) ** -power
    return torch.from_numpy((weights * counts.sum() / (weights * counts).sum()).astype(np.float32))


def _fit(
    trained: Trained, optimizer: torch.optim.Optimizer, weights: torch.Tensor, material: Material, effort: Effort,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    begun, losses = time.perf_counter(), []
    shares = np.cumsum([share for _, share in trained.contender.phases])
    for step in range(effort.steps):
        done = max(step / effort.steps, (time.perf_counter() - begun) / effort.seconds)
        if done >= 1:
            break
        length = trained.contender.phases[int(np.searchsorted(shares, done, side="right").clip(0, len(shares) - 1))][0]
        batch = _batch(material, length, effort, rng)
        losses.append(_step(trained, optimizer, weights, batch, rate(trained.contender.learning_rate, step, done)))
        trained.steps = step + 1
        if step % 20 == 0 and effort.device == "cuda":
            torch.cuda.synchronize()  # or the clock would see the host's queue alone
    trained.seconds = time.perf_counter() - begun
    trained.losses = [round(float(torch.stack(losses[at : at + 50]).mean()), 3) for at in range(0, len(losses), 50)]


def rate(highest: float, step: int, done: float) -> float:
    """Learning rate: 50 steps up, then a cosine down to a twentieth."""
    return highest * min(1.0, (step + 1) / 50) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def _batch(material: Material, length: int, effort: Effort, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    days = material.days[length]
    return [days[i] for i in rng.integers(0, len(days), max(1, effort.tokens // length))]


def _step(
    trained: Trained, optimizer: torch.optim.Optimizer, weights: torch.Tensor, batch: list[NDArray[np.int64]],
    learning_rate: float,
) -> torch.Tensor:  # fmt: skip
    trained.network.train()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    days = trained.days(batch)
    with torch.autocast(trained.device, torch.bfloat16, enabled=trained.device == "cuda"):
        surprise = F.cross_entropy(trained.network.logits(days).float(), days.events, reduction="none")
    loss = (surprise * weights[days.events]).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trained.network.parameters(), 1.0)
    optimizer.step()
    return loss.detach()
