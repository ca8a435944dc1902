"""Smaller networks from a trained one's weights: the channels or heads that weigh least, or a whole layer, left out."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from longwatch.kernels import parse_pattern
from longwatch.kernels.pattern import Sliding
from longwatch.model.config import ModelConfig

Weights = Mapping[str, NDArray[np.float32]]


def prune_channels(config: ModelConfig, weights: Weights, share: float) -> tuple[ModelConfig, Weights]:
    """The network with the heaviest `share` of each layer's feed-forward channels, a multiple of 8 of them.

    A channel weighs what its two input rows and its output column do together.
    """
    width = max(8, round(share * config.ffn_width / 8) * 8)
    found = dict(weights)
    for layer in range(len(config.layers)):
        gate_up, out = f"layers.{layer}.gate_up.weight", f"layers.{layer}.feed_out.weight"
        gate, up = np.split(weights[gate_up], 2)
        weight = np.linalg.norm(gate, axis=1) * np.linalg.norm(up, axis=1) * np.linalg.norm(weights[out], axis=0)
        kept = np.sort(np.argsort(-weight, kind="stable")[:width])
        found[gate_up] = np.concatenate([gate[kept], up[kept]])
        found[out] = np.ascontiguousarray(weights[out][:, kept])
    return replace(config, ffn_multiple=width / config.d_model), found


def prune_heads(config: ModelConfig, weights: Weights, kept: int) -> tuple[ModelConfig, Weights]:
    """The network with each layer's `kept` heaviest key heads and the query heads that share them.

    A key head weighs what its queries and its keys, and its values and their way out, do together.
    """
    group, width = config.num_heads // config.num_kv_heads, config.head_dim
    found = dict(weights)
    for layer in range(len(config.layers)):
        names = [f"layers.{layer}.{name}.weight" for name in ("query", "key_value", "attention_out")]
        query = weights[names[0]].reshape(config.num_kv_heads, group * width, -1)
        key, value = weights[names[1]].reshape(2, config.num_kv_heads, width, -1)
        out = weights[names[2]].reshape(-1, config.num_kv_heads, group * width).transpose(1, 0, 2)
        heads = [np.linalg.norm(each, axis=(1, 2)) for each in (query, key, value, out)]
        chosen = np.sort(np.argsort(-np.prod(heads, axis=0), kind="stable")[:kept])
        found[names[0]] = query[chosen].reshape(-1, config.d_model)
        found[names[1]] = np.concatenate([key[chosen], value[chosen]]).reshape(-1, config.d_model)
        found[names[2]] = np.ascontiguousarray(out[chosen].transpose(1, 0, 2).reshape(config.d_model, -1))
    return replace(config, num_heads=group * kept, num_kv_heads=kept, head_width=width), found


def drop_layer(config: ModelConfig, weights: Weights, layer: int) -> tuple[ModelConfig, Weights]:
    """The network without one of its layers; ValueError where it has only one."""
    if len(config.layers) < 2:
        raise ValueError("layers: expected two or more to leave one out")
    found: dict[str, NDArray[np.float32]] = {}
    for name, array in weights.items():
        head, _, rest = name.partition(".")
        number, _, rest = rest.partition(".") if head == "layers" else ("-1", "", rest)
        if int(number) == layer:
            continue
        found[f"layers.{int(number) - (int(number) > layer)}.{rest}" if head == "layers" else name] = array
    layers = tuple(text for number, text in enumerate(config.layers) if number != layer)
    return replace(config, layers=layers), found


def narrow(config: ModelConfig, divisor: int) -> ModelConfig:
    """The config with every sliding span divided, rounded up: the weights fit as they are."""

    def narrowed(text: str) -> str:
        parts = [
            Sliding(-(-part.span // divisor)) if isinstance(part, Sliding) else part
            for part in parse_pattern(text).parts
        ]
        return " | ".join(map(str, parts))

    return replace(config, layers=tuple(map(narrowed, config.layers)))
