"""An EventTransformer's weights as the fused kernels read them: gains folded in, rows in the order of their use."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from longwatch.kernels import Pattern
from longwatch.model.transformer import EventTransformer, Layer

__all__ = ["LayerWeights", "StreamWeights", "compose"]


@dataclass(frozen=True)
class LayerWeights:
    """One layer's matrices `[outputs, inputs]`; heads of queries and keys hold the pairs that rotary turns together."""

    pattern: Pattern
    project: Tensor  # queries, keys, values
    attention_out: Tensor
    gate_up: Tensor  # gate i at row 2i, its value at 2i + 1
    feed_out: Tensor
    attention_eps: float
    feed_eps: float

    @classmethod
    def of(cls, layer: Layer, dtype: torch.dtype) -> "LayerWeights":
        """The layer's weights, products taken in float32 before they are rounded to `dtype`."""
        query, (key, value) = layer.query.weight, layer.key_value.weight.chunk(2)
        heads = torch.cat([_paired(query, layer.heads), _paired(key, layer.kv_heads), value])
        gate_up = layer.gate_up.weight.view(2, -1, layer.gate_up.in_features).transpose(0, 1).flatten(0, 1)
        return cls(
            layer.pattern,
            _rounded(heads * layer.attention_norm.gain, dtype),
            _rounded(layer.attention_out.weight, dtype),
            _rounded(gate_up * layer.feed_norm.gain, dtype),
            _rounded(layer.feed_out.weight, dtype),
            layer.attention_norm.eps,
            layer.feed_norm.eps,
        )


@dataclass(frozen=True)
class StreamWeights:
    """All of a network's weights on one device; tables that are added up stay float32."""

    layers: tuple[LayerWeights, ...]
    words: Tensor
    residual: Tensor
    gap: Tensor
    shape: Tensor
    rotary: tuple[Tensor, Tensor]  # coarse and fine steps
    start: Tensor
    classes: Tensor  # [V + 1, K]
    bias: Tensor
    eps: float

    @classmethod
    @torch.no_grad()
    def of(cls, model: EventTransformer, device: torch.device | str, dtype: torch.dtype) -> "StreamWeights":
        """The model's weights there, in this dtype."""
        model = deepcopy(model).to(device)
        words, residual, gap, shape = (
            table.weight.detach().float().contiguous()
            for table in (model.words, model.residual, model.gap, model.shape)
        )
        known = torch.arange(1, len(model.known_words), device=model.known_words.device)
        classes = torch.cat([model.unknown[None], compose(words, residual, model.known_words[1:], known)])
        layers = [layer for layer in model.layers if isinstance(layer, Layer)]
        return cls(
            tuple(LayerWeights.of(layer, dtype) for layer in layers),
            words,
            residual,
            gap,
            shape,
            (model.rotary.coarse.contiguous(), model.rotary.fine.contiguous()),
            _rounded(model.start, dtype),
            _rounded(classes * model.norm.gain, dtype),
            model.bias.detach().float().contiguous(),
            model.norm.eps,
        )


def compose(words_table: Tensor, residual: Tensor, words: Tensor, known: Tensor) -> Tensor:
    """`EventTransformer.compose` [U, K] in float32, word after word: no row depends bitwise on how many there are."""
    total = words_table.new_zeros(len(words), words_table.shape[1])
    for word in words.unbind(1):
        total = total + words_table[word] * (word > 0).float()[:, None]
    mean = total / (words > 0).sum(1).clamp(min=1).float()[:, None]
    return mean + residual[known] * (known > 0).float()[:, None]


def _paired(weight: Tensor, heads: int) -> Tensor:
    """Rows of each head reordered: i and i + D / 2 become neighbours, as a product of two heads does not mind."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).flatten(0, 2)


def _rounded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.detach().to(dtype).contiguous()
