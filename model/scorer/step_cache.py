"""Which buffers the step graph of a config reads and writes, in its order. No torch, no ONNX Runtime."""

from dataclasses import dataclass

from longwatch.kernels import parse_pattern
from longwatch.kernels.ring_layout import CachePart, cache_parts
from longwatch.model.config import ModelConfig


@dataclass(frozen=True)
class CacheSpec:
    """One buffer, float32 [slots, key heads, rows, head_dim]; `input` is what the graph reads, `output` what it gives.

    Buffers of one `rows_name` have as many rows.
    """

    input: str
    part: CachePart
    rows_name: str

    @property
    def output(self) -> str:
        """Name of the buffer as it is after the step."""
        return f"next_{self.input}"

    def rows(self, length: int, chunk: int) -> int:
        """Rows for streams of up to `length` events, up to `chunk` of them at once."""
        return self.part.rows(length, chunk)


def cache_specs(config: ModelConfig) -> list[CacheSpec]:
    """Keys and values of each part of each layer; ValueError where a layer's pattern has topk."""
    texts = sorted(set(config.layers))
    specs = []
    for layer, text in enumerate(config.layers):
        for number, part in enumerate(cache_parts(parse_pattern(text))):
            rows_name = f"rows_{texts.index(text)}_{number}"
            names = (f"cache_{layer}_{number}_{kind}" for kind in ("key", "value"))
            specs += [CacheSpec(name, part, rows_name) for name in names]
    return specs
