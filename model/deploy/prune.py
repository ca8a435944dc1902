"""Smaller networks from a trained one's weights: feed-forward channels that weigh least, or a whole layer, left out."""

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
