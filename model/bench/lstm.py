"""A DeepLog-style LSTM: the next event from those before it, an event outside the likeliest few being a miss.

Source: Du, Li, Zheng, Srikumar, "DeepLog", CCS 2017: two layers of 64, the 9 likeliest. The history is not cut at 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from longwatch.model.bench.counting import running
from longwatch.model.bench.effort import Effort
from longwatch.model.bench.method import Judged
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.bench.units import Past, Units
from longwatch.model.dataset import crops
from longwatch.model.scorer.batching import Pieces
from longwatch.model.tokens import WindowTokens
from longwatch.model.train import pick_device

HIDDEN, LAYERS, LIKELIEST = 64, 2, 9
CROP = 256


@dataclass(frozen=True)
class Lstm:
    """Misses so far, and within one miss the surprise; shares of a trace's events."""

    effort: Effort
    name: str = "LSTM"
    seeded: bool = True
    borders: tuple[float, ...] = ()

    def applies(self, past: Past) -> bool:
        """Wherever there are events."""
        return len(past.fit.windows.tokens.template_id) > 0

    def learn(self, past: Past, seed: int) -> Judged:
        """Trains until `tune` gains no more, or the effort is spent."""
        torch.manual_seed(seed)
        kinds = np.unique(past.fit.windows.tokens.template_id)
        device = torch.device(pick_device(self.effort.device))
        network = NextEvent(len(kinds) + 1).to(device)
        best = _train(network, past, kinds, self.effort, seed, device)
        network.load_state_dict(best)
        network.eval()

        def score(units: Units) -> UnitScores:
            return _scores(_events(network, units.windows.tokens, kinds, device), units)

        return Judged(score(past.calibration), score)


class NextEvent(nn.Module):
    """Logits of the next event's kind; kind 0 is any that was never seen."""

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(kinds + 1, HIDDEN)  # the last row stands before the first event
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, LAYERS, batch_first=True)
        self.out = nn.Linear(HIDDEN, kinds)

    def forward(self, events: Tensor) -> Tensor:
        """int64 [B, T] to float32 [B, T, kinds]: row t is predicted from those before t."""
        before = F.pad(events[:, :-1], (1, 0), value=self.embed.num_embeddings - 1)
        logits: Tensor = self.out(self.lstm(self.embed(before))[0])
        return logits


def _scores(events: tuple[NDArray[np.float64], NDArray[np.float64]], units: Units) -> UnitScores:
    missed, surprise = events
    tokens = units.windows.tokens
    found = running(missed + surprise / 1000, tokens)
    if units.shape == "stream":
        return found
    return UnitScores(found.final / np.maximum(tokens.lengths - tokens.scored, 1))


def _train(
    network: NextEvent, past: Past, kinds: NDArray[np.uint64], effort: Effort, seed: int, device: torch.device
) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    classes, held_out = (_classes(part.windows.tokens, kinds) for part in (past.fit, past.tune))
    pieces, tune = crops(past.fit.windows.tokens, CROP), crops(past.tune.windows.tokens, CROP)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    best, best_nll = _state(network), float("inf")
    for step, batch in enumerate(_batches(pieces, effort, rng), 1):
        network.train()
        loss, count = _loss(network, batch, classes, device)
        optimizer.zero_grad(set_to_none=True)
        (loss / max(count, 1)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == effort.steps:
            nll = _validate(network, tune, held_out, effort, device)
            if nll < best_nll:
                best, best_nll = _state(network), nll
    return best


def _batches(pieces: Pieces, effort: Effort, rng: np.random.Generator) -> Iterator[Pieces]:
    """Random crops, as many to a batch as the effort's tokens allow."""
    size = max(1, effort.tokens_per_batch // max(int(pieces.length.mean()), 1))
    for _ in range(effort.steps):
        yield pieces.select(rng.integers(0, len(pieces.first), size))


def _validate(
    network: NextEvent, tune: Pieces, classes: NDArray[np.int64], effort: Effort, device: torch.device
) -> float:
    network.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in _in_turn(tune, effort.tokens_per_batch):
            loss, wanted = _loss(network, batch, classes, device)
            total, count = total + float(loss), count + wanted
    return total / max(count, 1)


def _loss(network: NextEvent, batch: Pieces, classes: NDArray[np.int64], device: torch.device) -> tuple[Tensor, int]:
    events, wanted, _ = _padded(batch, classes)
    targets = torch.from_numpy(events).to(device)
    losses = F.cross_entropy(network(targets).transpose(1, 2), targets, reduction="none")
    return (losses * torch.from_numpy(wanted).to(device)).sum(), int(wanted.sum())


@torch.no_grad()
def _events(
    network: NextEvent, tokens: WindowTokens, kinds: NDArray[np.uint64], device: torch.device
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whether each unscored token is outside the likeliest, and its surprise; long units are cut into crops."""
    classes = _classes(tokens, kinds)
    missed, surprise = np.zeros(len(classes)), np.zeros(len(classes))
    for batch in _in_turn(crops(tokens, CROP * 4), 1 << 15):
        events, inside, rows = _padded(batch, classes)
        targets = torch.from_numpy(events).to(device)
        logits = network(targets)
        own = logits.gather(2, targets[..., None])
        rank = (logits > own).sum(2).cpu().numpy()
        nll = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").cpu().numpy()
        missed[rows[inside]] = ((rank >= LIKELIEST) | (events == 0))[inside]
        surprise[rows[inside]] = nll[inside]
    unscored = tokens.unscored_rows()
    return missed[unscored], surprise[unscored]


def _in_turn(pieces: Pieces, tokens_per_batch: int) -> Iterator[Pieces]:
    """All pieces, those of like length together."""
    order = np.argsort(pieces.length, kind="stable")[::-1]
    at = 0
    while at < len(order):
        size = max(1, tokens_per_batch // int(pieces.length[order[at]]))
        yield pieces.select(order[at : at + size])
        at += size


def _padded(
    pieces: Pieces, classes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Classes [B, T], where a score is wanted, and the packed row of each place."""
    place = np.arange(int(pieces.length.max()))
    inside = place < pieces.length[:, None]
    rows = np.where(inside, pieces.first[:, None] + place, 0)
    wanted = inside & (place >= pieces.skip[:, None])
    return np.where(inside, classes[rows], 0), wanted, rows


def _classes(tokens: WindowTokens, kinds: NDArray[np.uint64]) -> NDArray[np.int64]:
    at = np.minimum(np.searchsorted(kinds, tokens.template_id), len(kinds) - 1)
    return np.where(kinds[at] == tokens.template_id, at + 1, 0)


def _state(network: NextEvent) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
