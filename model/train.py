"""Fits an EventTransformer to normal windows: AdamW, cosine, early stop on held-out surprise."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from longwatch.model.config import ModelConfig, TrainConfig
from longwatch.model.dataset import crops, shuffled_batches
from longwatch.model.scorer.batching import ModelInputs, Pieces, TokenColumns, padded_width, plan_batches, wanted_mask
from longwatch.model.tokens import WindowTokens
from longwatch.model.transformer import EventTransformer, load_transformer
from longwatch.model.vocabulary import Vocabulary

Progress = Callable[[int, int, float, float], None]


@dataclass(frozen=True)
class TrainedModel:
    """The best weights seen, and how they were found.

    weights: float32 arrays by parameter name. history: (step, fit NLL, validation NLL), nats per event.
    """

    config: ModelConfig
    train_config: TrainConfig
    vocabulary: Vocabulary
    weights: Mapping[str, NDArray[np.float32]]
    history: tuple[tuple[int, float, float], ...]

    @property
    def validation_nll(self) -> float:
        """Mean surprise of the early-stop windows under the kept weights, nats per event."""
        return min(nll for _, _, nll in self.history)


def train(
    model_config: ModelConfig,
    train_config: TrainConfig,
    fit: WindowTokens,
    validation: WindowTokens,
    templates: Mapping[int, str],
    progress: Progress | None = None,
) -> TrainedModel:
    """Trains on `fit` until `validation` gains no more; `progress` gets (step, max_steps, fit NLL, validation NLL).

    The vocabulary is the templates of `fit`; `templates` gives the text of every id in `fit`. Equal arguments give
    equal weights on one machine's CPU with equally many threads.
    """
    device = torch.device(pick_device(train_config.device))
    known = sorted({templates[i] for i in np.unique(fit.template_id).tolist()})
    vocabulary = Vocabulary.of(known, model_config.word_buckets, model_config.max_words)
    torch.manual_seed(train_config.seed)
    model = EventTransformer(model_config, torch.from_numpy(vocabulary.known_words)).to(device)
    run = _Run(model, model_config, train_config, vocabulary, device)
    with _deterministic(device):
        history = run.fit(fit, validation, progress or _silent)
    return TrainedModel(model_config, train_config, vocabulary, run.best, tuple(history))


def retrain(trained: TrainedModel, settings: TrainConfig, fit: WindowTokens, validation: WindowTokens) -> TrainedModel:
    """Goes on from weights that something was taken from, with their own vocabulary; never worse on `validation`."""
    torch.manual_seed(settings.seed)
    device = torch.device(pick_device(settings.device))
    model = load_transformer(trained.config, trained.vocabulary.known_words, trained.weights)
    run = _Run(model.requires_grad_(True).to(device), trained.config, settings, trained.vocabulary, device)
    before = run.surprise_of(validation)
    with _deterministic(device):
        history = [(0, before, before), *run.fit(fit, validation, _silent)]
    better = min(nll for _, _, nll in history[1:]) < before
    return replace(
        trained, train_config=settings, weights=run.best if better else trained.weights, history=tuple(history)
    )


def pick_device(wanted: str) -> str:
    """`wanted`, or for auto CUDA where there is one and else the CPU."""
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Sums gradients of embeddings in one order; on CUDA that would need an environment variable set before start."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or device.type == "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


class _Run:
    """One training: the model, its optimiser, and the best weights so far."""

    def __init__(
        self,
        model: EventTransformer,
        config: ModelConfig,
        settings: TrainConfig,
        vocabulary: Vocabulary,
        device: torch.device,
    ) -> None:
        self.model, self.config, self.settings = model, config, settings
        self.vocabulary, self.device = vocabulary, device
        self.optimizer = torch.optim.AdamW(_parameter_groups(model, settings), lr=settings.learning_rate)
        self.rng = np.random.default_rng(settings.seed)
        self.best = _weights(model)

    def surprise_of(self, tokens: WindowTokens) -> float:
        """Mean surprise of these windows under the weights as they are, nats per event."""
        return self._validate(crops(tokens, self._crop_tokens), TokenColumns.of(tokens, self.vocabulary, self.config))

    def fit(self, fit: WindowTokens, validation: WindowTokens, progress: Progress) -> list[tuple[int, float, float]]:
        columns = TokenColumns.of(fit, self.vocabulary, self.config)
        held_out = TokenColumns.of(validation, self.vocabulary, self.config)
        pieces = crops(fit, self._crop_tokens)
        held_out_pieces = crops(validation, self._crop_tokens)
        num_steps = self._num_steps(pieces)
        history: list[tuple[int, float, float]] = []
        losses: list[Tensor] = []
        for step, batch in enumerate(self._batches(pieces, num_steps), 1):
            losses.append(self._step(batch, columns, _learning_rate(self.settings, step, num_steps)))
            if step % self.settings.validation_every == 0 or step == num_steps:
                history.append((step, torch.stack(losses).mean().item(), self._validate(held_out_pieces, held_out)))
                losses.clear()
                progress(step, num_steps, *history[-1][1:])
                if self._keep_best(history):
                    break
        return history

    @property
    def _crop_tokens(self) -> int:
        return min(self.settings.max_window_tokens, self.settings.tokens_per_batch)

    def _num_steps(self, pieces: Pieces) -> int:
        if len(pieces.first) == 0:
            raise ValueError("fit: expected windows with events to learn from, found none; replay a longer time")
        per_epoch = len(plan_batches(pieces, self.config.block_size, self.settings.tokens_per_batch))
        return min(self.settings.max_steps, self.settings.max_epochs * per_epoch)

    def _batches(self, pieces: Pieces, num_steps: int) -> Iterator[Pieces]:
        step = 0
        while True:
            for batch in shuffled_batches(pieces, self.config.block_size, self.settings.tokens_per_batch, self.rng):
                if step == num_steps:
                    return
                step += 1
                yield batch

    def _step(self, pieces: Pieces, columns: TokenColumns, learning_rate: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.model.train()
        width = padded_width(int(pieces.length.max()), self.config.block_size)
        inputs = with_unseen(columns.padded(pieces, width), columns.class_counts, self.settings.unseen_rate, self.rng)
        total, count = self._loss(inputs, wanted_mask(pieces, width))
        loss = total / count
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _validate(self, pieces: Pieces, columns: TokenColumns) -> float:
        self.model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for numbers in plan_batches(pieces, self.config.block_size, self.settings.tokens_per_batch):
                batch = pieces.select(numbers)
                width = padded_width(int(batch.length.max()), self.config.block_size)
                loss, wanted = self._loss(columns.padded(batch, width), wanted_mask(batch, width))
                total, count = total + loss.item(), count + wanted
        return total / max(count, 1)

    def _loss(self, inputs: ModelInputs, wanted: NDArray[np.bool_]) -> tuple[Tensor, int]:
        tensors = [torch.from_numpy(array).to(self.device, non_blocking=True) for array in inputs.arrays]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            surprise = self.model(*tensors)
        mask = torch.from_numpy(wanted).to(self.device, non_blocking=True)
        return torch.where(mask, surprise, 0).sum(), int(wanted.sum())

    def _keep_best(self, history: list[tuple[int, float, float]]) -> bool:
        """Keeps the weights after a gain; true once `patience` validations in a row brought none."""
        scores = [nll for _, _, nll in history]
        best = int(np.argmin(np.nan_to_num(scores, nan=math.inf)))
        if best == len(scores) - 1:
            self.best = _weights(self.model)
        return len(scores) - 1 - best >= self.settings.patience


def with_unseen(
    inputs: ModelInputs, class_counts: NDArray[np.int64], unseen_rate: float, rng: np.random.Generator
) -> ModelInputs:
    """The batch with some tokens as if their template were unseen, so that unseen ones are learned.

    A share `unseen_rate` of tokens is read by its words alone. A token of a template that occurs n times has target
    UNK with probability 1 / (n + 1): each template was new about once, so UNK comes as often as new templates did.
    """
    first_sight = rng.random(inputs.target.shape) < 1 / (class_counts[inputs.target] + 1)
    by_words = rng.random(inputs.token.shape) < unseen_rate
    num_rows = len(inputs.lexicon_known)
    return ModelInputs(
        token=np.where(by_words, inputs.token + num_rows, inputs.token),
        gap=inputs.gap,
        shape=inputs.shape,
        lexicon_words=np.concatenate([inputs.lexicon_words, inputs.lexicon_words]),
        lexicon_known=np.concatenate([inputs.lexicon_known, np.zeros_like(inputs.lexicon_known)]),
        target=np.where(first_sight, 0, inputs.target),
    )


def _parameter_groups(model: EventTransformer, settings: TrainConfig) -> list[dict[str, object]]:
    matrices = [p for name, p in model.named_parameters() if name.startswith("layers.") and p.ndim == 2]
    others = [p for name, p in model.named_parameters() if not (name.startswith("layers.") and p.ndim == 2)]
    decays = ((matrices, settings.weight_decay), (others, 0.0))
    return [{"params": params, "weight_decay": decay} for params, decay in decays]


def _learning_rate(settings: TrainConfig, step: int, num_steps: int) -> float:
    warmup = max(1, round(settings.warmup * num_steps))
    if step < warmup:
        return settings.learning_rate * step / warmup
    done = (step - warmup) / max(1, num_steps - warmup)
    return settings.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def _weights(model: EventTransformer) -> dict[str, NDArray[np.float32]]:
    return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def _silent(step: int, max_steps: int, fit_nll: float, validation_nll: float) -> None:
    """No progress shown."""
