"""Golden windows where no history is at hand: drawn from what the network expects, so that they look normal to it."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from longwatch.model.bundle import Bundle
from longwatch.model.scorer.torch import load_network
from longwatch.model.tokens import WindowTokens, template_id
from longwatch.model.transformer import EventTransformer, Layer

NOVEL, NOVEL_SHARE = "<a template never seen>", 0.002


@torch.no_grad()
def golden_windows(bundle: Bundle, windows: int = 64, length: int = 256, seed: int = 0) -> WindowTokens:
    """Windows of known templates, each drawn from what the network expects after the one before it; some are unseen."""
    model, texts = load_network(bundle), bundle.vocabulary.templates
    classes = _drawn(model, windows, length, torch.Generator().manual_seed(seed))
    rng = np.random.default_rng(seed)
    ids = np.array([template_id(text) for text in (NOVEL, *texts)], np.uint64)
    chosen = np.where(rng.random(classes.shape) < NOVEL_SHARE, 0, classes)
    gaps = rng.lognormal(6, 3, classes.shape).astype(np.int64)
    gaps[:, 0] = -1
    return WindowTokens(
        ids[chosen].reshape(-1),
        gaps.reshape(-1),
        rng.integers(0, 200, classes.size).astype(np.int32),
        (np.arange(windows + 1) * length).astype(np.int32),
        np.zeros(windows, np.int32),
        {int(ids[0]): NOVEL, **{template_id(text): text for text in texts}},
    )


def _drawn(model: EventTransformer, windows: int, length: int, generator: torch.Generator) -> NDArray[np.int64]:
    """Output classes [windows, length], a Markov chain of the network's answers to single events."""
    num_classes = len(model.known_words)
    after = _successors(model, num_classes)
    state = torch.randint(1, num_classes, (windows,), generator=generator)
    drawn = []
    for _ in range(length):
        drawn.append(state)
        state = 1 + torch.multinomial(after[state], 1, generator=generator).squeeze(1)
    return torch.stack(drawn, dim=1).numpy()


def _successors(model: EventTransformer, num_classes: int) -> torch.Tensor:
    """Chance of each known class after a window of each one event, [classes, classes - 1]."""
    known = torch.arange(num_classes)
    events = model.compose(model.known_words, known)[:, None]
    zeros = torch.zeros(num_classes, 1, dtype=torch.int64)
    stream = events + model.gap(zeros) + model.shape(zeros)
    block = cast(Layer, model.layers[0]).block_size
    padded, angles = F.pad(stream, (0, 0, 0, block - 1)), model.rotary(block)
    for layer in model.layers:
        padded = layer(padded, angles)
    logits = F.linear(model.norm(padded[:, 0]), model.output_table(), model.bias)
    return logits[:, 1:].softmax(dim=-1)
