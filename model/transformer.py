"""The network: what happened so far in a window in, the surprise of each event out."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from longwatch.kernels import Pattern, gather_attention, parse_pattern
from longwatch.model.config import ModelConfig

POSITION_STEP = 1024  # positions up to its square have exact angles


class EventTransformer(nn.Module):
    """Causal transformer over events; the class of each event is predicted from the events before it.

    Args:
        config: shape of the network.
        known_words: int64 [V + 1, K], hashed words of each output class; row 0 is UNK.
    """

    known_words: Tensor

    def __init__(self, config: ModelConfig, known_words: Tensor) -> None:
        super().__init__()
        width = config.d_model
        self.words = nn.Embedding(config.word_buckets, width)
        self.residual = nn.Embedding(len(known_words), width)
        self.gap = nn.Embedding(config.gap_buckets, width)
        self.shape = nn.Embedding(config.shape_buckets, width)
        self.start = nn.Parameter(torch.empty(width))
        self.unknown = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(len(known_words)))
        self.rotary = Rotary(config.head_dim, config.rope_base)
        self.layers = nn.ModuleList(Layer(config, parse_pattern(text)) for text in config.layers)
        self.norm = RMSNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("known_words", known_words, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights.

        embeddings, unknown: normal, 0.02 | start: normal, 1 | bias: 0 | norm gains: 1
        linear layers: normal, 1 / sqrt(inputs) | those that write to the residual stream: that / sqrt(2 * layers)
        """
        for table in (self.words, self.residual, self.gap, self.shape):
            nn.init.normal_(table.weight, std=0.02)
        nn.init.normal_(self.unknown, std=0.02)
        nn.init.normal_(self.start)
        nn.init.zeros_(self.bias)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                depth = 2 * len(self.layers) if name.endswith("out") else 1
                nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features * depth))

    def forward(
        self, token: Tensor, gap: Tensor, shape: Tensor, lexicon_words: Tensor, lexicon_known: Tensor, target: Tensor
    ) -> Tensor:
        """Surprise of each event in nats, float32 [B, T]; position 0 is predicted from a learned start vector.

        token: row of the lexicon. gap, shape: buckets. target: output class. All int64 [B, T], padded on the right,
        T a multiple of the block size. lexicon_words: int64 [U, K], 0 = none. lexicon_known: int64 [U], 0 = unseen.
        """
        events = self.compose(lexicon_words, lexicon_known)
        stream = self.dropout(events[token] + self.gap(gap) + self.shape(shape))
        angles = self.rotary(token.shape[1])
        for layer in self.layers:
            stream = layer(stream, angles)
        before = self.start.expand(token.shape[0], 1, -1)
        stream = self.norm(torch.cat([before, stream[:, :-1]], dim=1))
        logits = F.linear(stream, self.output_table(), self.bias).float()
        surprise: Tensor = -F.log_softmax(logits, dim=-1).gather(2, target[..., None]).squeeze(2)
        return surprise

    def compose(self, words: Tensor, known: Tensor) -> Tensor:
        """Embedding of templates [U, D]: the mean of their words' and, where known, one of their own."""
        there = (words > 0).to(self.words.weight.dtype)[..., None]
        mean: Tensor = (self.words(words) * there).sum(1) / there.sum(1).clamp(min=1)
        own: Tensor = self.residual(known) * (known > 0).to(mean.dtype)[:, None]
        return mean + own

    def output_table(self) -> Tensor:
        """What each output class is compared with, [V + 1, D]: the known templates' embeddings, UNK's first."""
        classes = torch.arange(1, len(self.known_words), device=self.known_words.device)
        return torch.cat([self.unknown[None], self.compose(self.known_words[1:], classes)])


def load_transformer(
    config: ModelConfig, known_words: NDArray[np.int64], weights: Mapping[str, NDArray[np.float32]]
) -> EventTransformer:
    """The network with these weights, ready to score on the CPU; raises RuntimeError where names or shapes differ."""
    model = EventTransformer(config, torch.from_numpy(known_words))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model.eval().requires_grad_(False)


class Layer(nn.Module):
    """Attention in one pattern, then SwiGLU, each on the normed stream and added to it."""

    def __init__(self, config: ModelConfig, pattern: Pattern) -> None:
        super().__init__()
        self.pattern, self.block_size = pattern, config.block_size
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        width, kv_width = config.d_model, config.num_kv_heads * config.head_dim
        query_width = config.num_heads * config.head_dim
        self.attention_norm, self.feed_norm = RMSNorm(width), RMSNorm(width)
        self.query = nn.Linear(width, query_width, bias=False)
        self.key_value = nn.Linear(width, 2 * kv_width, bias=False)
        self.attention_out = nn.Linear(query_width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * config.ffn_width, bias=False)
        self.feed_out = nn.Linear(config.ffn_width, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, stream: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """[B, T, D] to [B, T, D]; angles are cosine and sine [T, head_dim / 2]."""
        attended: Tensor = stream + self.dropout(self.attend(self.attention_norm(stream), angles))
        fed: Tensor = self.dropout(self.feed(attended))
        return attended + fed

    def feed(self, attended: Tensor) -> Tensor:
        """[..., D] to the same shape: what SwiGLU adds to the normed stream."""
        gate, up = self.gate_up(self.feed_norm(attended)).chunk(2, dim=-1)
        fed: Tensor = self.feed_out(F.silu(gate) * up)
        return fed

    def attend(self, normed: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """[B, T, D] to [B, T, D]: each event gathers from those its pattern shows it."""
        batch, length = normed.shape[0], normed.shape[1]
        query = rotate(self.query(normed).view(batch, length, self.heads, self.head_dim), angles)
        key, value = self.key_value(normed).view(batch, length, 2 * self.kv_heads, self.head_dim).chunk(2, dim=2)
        mixed = gather_attention(query, rotate(key, angles), value, self.pattern, self.block_size)
        gathered: Tensor = self.attention_out(mixed.reshape(batch, length, self.heads * self.head_dim))
        return gathered


class RMSNorm(nn.Module):
    """Scales vectors to mean square 1, then by a learned gain; computed in float32."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, values: Tensor) -> Tensor:
        """Any [..., D] to the same shape and dtype."""
        wide = values.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (scaled * self.gain).to(values.dtype)


class Rotary(nn.Module):
    """Rotary angles for up to 1,048,576 positions.

    A float32 position times a frequency would be off by 4e-3 rad at position 65,536, and a score would then depend on
    where in a window it stands. Angles are made in float64 for coarse and fine steps, and added as angles add.
    """

    coarse: Tensor
    fine: Tensor

    def __init__(self, head_dim: int, base: float) -> None:
        super().__init__()
        frequency = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
        steps = torch.arange(POSITION_STEP, dtype=torch.float64)[:, None] * frequency
        for name, angle in (("coarse", steps * POSITION_STEP), ("fine", steps)):
            self.register_buffer(name, torch.stack([angle.cos(), angle.sin()]).float(), persistent=False)

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine, float32 [length, head_dim / 2] each."""
        return self.at(torch.arange(length, device=self.fine.device))

    def at(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine, float32 [..., head_dim / 2] each, of positions int64 [...]."""
        cos_coarse, sin_coarse = self.coarse[:, position // POSITION_STEP]
        cos_fine, sin_fine = self.fine[:, position % POSITION_STEP]
        return cos_coarse * cos_fine - sin_coarse * sin_fine, sin_coarse * cos_fine + cos_coarse * sin_fine


def rotate(heads: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """[B, T, H, D] turned by the angles of their positions, [T or B, T, D / 2]; shape and dtype stay."""
    cos, sin = (angle[..., None, :].to(heads.dtype) for angle in angles)
    left, right = heads.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
