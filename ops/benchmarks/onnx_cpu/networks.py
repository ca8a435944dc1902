"""Untrained networks of a config: what they cost does not depend on what they learned."""

import torch

from longwatch.model.config import ModelConfig
from longwatch.model.export import random_inputs
from longwatch.model.scorer.batching import ModelInputs
from longwatch.model.transformer import EventTransformer

CLASSES = 100
SPAN_512 = ModelConfig(d_model=256, num_heads=4, num_kv_heads=4, layers=("sliding(512)", "sliding(512)"))
MIXED = ModelConfig(layers=("sliding(64) | global(64)", "sliding(64) | strided(1024)"))
NETWORKS = {"default": ModelConfig(), "span 512, width 256": SPAN_512, "mixed": MIXED}


def chosen(networks: dict[str, ModelConfig], names: list[str] | None) -> dict[str, ModelConfig]:
    return {name: networks[name] for name in names or networks}


def network(config: ModelConfig) -> EventTransformer:
    torch.manual_seed(0)
    words = torch.randint(1, config.word_buckets, (CLASSES, config.max_words))
    words[0] = 0
    return EventTransformer(config, words).eval().requires_grad_(False)


def window(config: ModelConfig, length: int, seed: int = 0) -> ModelInputs:
    return random_inputs(config, CLASSES, (1, 1, 40), seed, block_size=length)
