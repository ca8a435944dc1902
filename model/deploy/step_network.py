"""The network as one step of a stream: new events and what was remembered in, surprise and what to remember out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longwatch.kernels.ring import Ring, StreamView, ring_attention, ring_write, stream_view
from longwatch.kernels.ring_layout import cache_parts
from longwatch.model.transformer import EventTransformer, Layer, rotate


class StepNetwork(nn.Module):
    """An EventTransformer for S streams' next C events each, whose keys and values lie in caches of many slots."""

    classes: Tensor

    def __init__(self, model: EventTransformer) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            table = model.output_table()
        # The classes' embeddings never change: a step must not make them anew.
        self.register_buffer("classes", table, persistent=False)

    def forward(
        self,
        slot: Tensor,
        position: Tensor,
        token: Tensor,
        gap: Tensor,
        shape: Tensor,
        lexicon_words: Tensor,
        lexicon_known: Tensor,
        target: Tensor,
        newest: Tensor,
        caches: list[Tensor],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Surprise [S, C], then newest and caches as they are afterwards.

        slot: int64 [S], all different. position: int64 [S], events that the stream had before; 0 begins a new one.
        token, gap, shape, target: int64 [S, C]; lexicon as the network's. newest: [slots, 2, D], what the last layer
        made of each stream's last event, and of the last before the step. caches: key and value of each part of each
        layer, [slots, Hkv, rows, D].
        """
        model = self.model
        places = position[:, None] + torch.arange(token.shape[1], device=token.device)
        events = model.compose(lexicon_words, lexicon_known)
        stream = events[token] + model.gap(gap) + model.shape(shape)
        cos, sin = model.rotary.at(places)
        rings = [Ring(*caches[i : i + 2]) for i in range(0, len(caches), 2)]
        views: dict[str, StreamView] = {}
        kept: list[Ring] = []
        for layer in model.layers:
            assert isinstance(layer, Layer)  # noqa: S101  for the type checker
            mine = rings[len(kept) : len(kept) + len(cache_parts(layer.pattern))]
            name = str(layer.pattern)
            if name not in views:
                views[name] = stream_view(layer.pattern, places, [ring.key.shape[2] for ring in mine], stream.dtype)
            stream, written = _layer_step(layer, stream, (cos, sin), mine, slot, views[name])
            kept.extend(written)
        first = torch.where(position[:, None] == 0, model.start, newest.index_select(0, slot)[:, 0])
        # What was read is written too: a runtime that writes in place must then read first.
        kept_newest = newest.index_put((slot,), torch.stack([stream[:, -1], first], dim=1))
        before = model.norm(torch.cat([first[:, None], stream[:, :-1]], dim=1))
        logits = F.linear(before, self.classes, model.bias).float()
        surprise = -F.log_softmax(logits, dim=-1).gather(2, target[..., None]).squeeze(2)
        return surprise, kept_newest, [tensor for ring in kept for tensor in ring]


def _layer_step(
    layer: Layer, stream: Tensor, angles: tuple[Tensor, Tensor], rings: list[Ring], slot: Tensor, view: StreamView
) -> tuple[Tensor, list[Ring]]:
    normed = layer.attention_norm(stream)
    streams, chunk = stream.shape[:2]
    query = rotate(layer.query(normed).view(streams, chunk, layer.heads, layer.head_dim), angles)
    heads = layer.key_value(normed).view(streams, chunk, 2 * layer.kv_heads, layer.head_dim)
    key, value = heads.chunk(2, dim=2)
    key = rotate(key, angles)
    written = [ring_write(ring, slot, rows, key, value) for ring, rows in zip(rings, view.rows, strict=True)]
    mixed = ring_attention(query, written, slot, view)
    attended = stream + layer.attention_out(mixed.reshape(streams, chunk, layer.heads * layer.head_dim))
    return attended + layer.feed(attended), written
