"""The network's two paths, whole sequences and steps, made of the same kernels: their scores are bitwise equal."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from longwatch.kernels.triton_impl.cache import KVCache, write_cache
from longwatch.kernels.triton_impl.decode import attention_decode
from longwatch.kernels.triton_impl.embed import embed_rows
from longwatch.kernels.triton_impl.forward import attention_forward
from longwatch.kernels.triton_impl.invariant import invariant_linear
from longwatch.kernels.triton_impl.project import project_heads
from longwatch.kernels.triton_impl.surprise import class_surprise
from longwatch.model.stream.state import StreamState
from longwatch.model.stream.weights import LayerWeights, StreamWeights, compose
from longwatch.model.transformer import EventTransformer, Layer

__all__ = ["EventRows", "StreamNetwork"]

# Queries, keys, values and the layer's number to what attention mixes, [M, H, D].
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class EventRows:
    """Events as the network reads them: int32 on its device, [T] packed or [S * chunk]; token: row of the events."""

    token: Tensor
    gap: Tensor
    shape: Tensor
    target: Tensor

    @classmethod
    def of(
        cls, token: ArrayLike, gap: ArrayLike, shape: ArrayLike, target: ArrayLike, device: torch.device | str = "cuda"
    ) -> "EventRows":
        """From arrays, flattened."""
        columns = (np.ascontiguousarray(column, np.int32).reshape(-1) for column in (token, gap, shape, target))
        return cls(*(torch.from_numpy(column).to(device) for column in columns))


class StreamNetwork:
    """An EventTransformer for inference through the Triton kernels, its weights rounded to `dtype`."""

    def __init__(
        self, model: EventTransformer, device: torch.device | str = "cuda", dtype: torch.dtype = torch.bfloat16
    ) -> None:
        layer = model.layers[0]
        assert isinstance(layer, Layer)  # noqa: S101  for the type checker
        self.heads, self.kv_heads, self.head_dim = layer.heads, layer.kv_heads, layer.head_dim
        self.scale = 1 / math.sqrt(self.head_dim)
        self.weights = StreamWeights.of(model, device, dtype)

    @torch.no_grad()
    def events(self, lexicon_words: Tensor, lexicon_known: Tensor) -> Tensor:
        """What tokens mean, float32 [U, K]: words int64 [U, words of a template], known int64 [U], both as trained."""
        return compose(self.weights.words, self.weights.residual, lexicon_words, lexicon_known)

    def new_state(self, slots: int, chunk: int = 16, capacity: int = 65_536) -> StreamState:
        """An empty state: chunk is the most events of a stream in one step; capacity bounds streams of patterns that
        reach to their start.
        """
        return StreamState(
            [layer.pattern for layer in self.weights.layers],
            self.weights.start,
            slots=slots,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            chunk=chunk,
            capacity=capacity,
        )

    @torch.no_grad()
    def whole(
        self,
        events: Tensor,
        rows: EventRows,
        cu_seqlens: ArrayLike,
        state: StreamState | None = None,
        slots: ArrayLike | None = None,
    ) -> Tensor:
        """Surprise float32 [T] of packed sequences; with a state, slots [B] of it then hold them (-1: not kept)."""
        bounds = np.asarray(cu_seqlens, np.int64)
        lengths = np.diff(bounds)
        start = self.weights.start
        place = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
        position = torch.from_numpy(place.astype(np.int32)).to(start.device)
        buffer = start.new_empty(1 + len(place), len(start))
        buffer[0] = start
        attend = self._packed(bounds)
        if state is not None:
            attend = _kept(attend, state, np.asarray(slots, np.int64), lengths, position)
        surprise = self._run(events, rows, position, buffer, 1, attend)
        if state is not None:
            _keep_newest(state, np.asarray(slots, np.int64), bounds, buffer)
        return surprise

    @torch.no_grad()
    def step(self, events: Tensor, rows: EventRows, state: StreamState, slots: ArrayLike, counts: ArrayLike) -> Tensor:
        """Surprise float32 [S, C] of S streams' next events, counts[i] <= C of stream slots[i] (-1: none); else 0.

        rows [S * C]: stream i's events are i * C and on. ValueError where a stream would outgrow the state.
        """
        chunk = self.check_step(rows, state, slots, counts)
        device = state.cursors.device
        arrays = [torch.from_numpy(np.asarray(array, np.int32)).to(device) for array in (slots, counts)]
        state.advance(slots, counts)
        return self.run_step(events, rows, state, arrays[0], arrays[1], chunk).view(-1, chunk)

    @staticmethod
    def check_step(rows: EventRows, state: StreamState, slots: ArrayLike, counts: ArrayLike) -> int:
        """Rows of each stream, C; ValueError unless the step's sizes go together and with the state."""
        streams, total = len(np.asarray(slots)), len(rows.token)
        chunk = total // streams if streams else 0
        most = np.asarray(counts).max(initial=0)
        if not streams or total % streams or not most <= chunk <= state.chunk or streams > state.slots:
            raise ValueError(
                f"rows: expected S * C events for S streams, each count at most C and C at most {state.chunk}, "
                f"S at most {state.slots}; got {total} events, S {streams}, counts up to {most}"
            )
        return chunk

    @torch.no_grad()
    def run_step(
        self,
        events: Tensor,
        rows: EventRows,
        state: StreamState,
        slots: Tensor,
        counts: Tensor,
        chunk: int,
        overlap: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        """`step` on the device alone, float32 [S * chunk]: slots and counts int32 [S] there, unchecked; capturable.

        out: where to write the scores, which may be pinned memory of the host.
        """
        position = torch.empty_like(rows.token)
        streams = (slots, state.cursors, counts)

        def attend(number: int, query: Tensor, _key: Tensor, _value: Tensor) -> Tensor:
            cache = state.caches[number]
            return attention_decode(query, cache, slots, position, counts, chunk, self.scale, overlap=overlap)

        return self._run(events, rows, position, state.buffer, state.base, attend, state, streams, chunk, overlap, out)

    def _run(
        self,
        events: Tensor,
        rows: EventRows,
        position: Tensor,
        buffer: Tensor,
        base: int,
        attend: Attend,
        state: StreamState | None = None,
        streams: tuple[Tensor, Tensor, Tensor] | None = None,
        chunk: int = 1,
        overlap: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        weights = self.weights
        stream, angles, source = embed_rows(
            (events, weights.gap, weights.shape),
            (rows.token, rows.gap, rows.shape),
            weights.rotary,
            position,
            base,
            weights.start,
            streams,
            chunk,
            overlap,
        )
        slots = None if streams is None else streams[0]
        newest = buffer[base : base + len(position)]
        for number, layer in enumerate(weights.layers):
            cache = None if state is None else state.caches[number]
            mixed = self._mix(layer, number, stream, angles, position, attend, cache, slots, chunk, overlap)
            last = number == len(weights.layers) - 1
            stream = _feed(layer, stream, mixed, newest if last else None, overlap)
        return class_surprise(
            buffer,
            source,
            weights.classes,
            weights.bias,
            rows.target,
            weights.eps,
            streams=streams,
            chunk=chunk,
            base=base,
            overlap=overlap,
            out=out,
        )

    def _mix(
        self,
        layer: LayerWeights,
        number: int,
        stream: Tensor,
        angles: tuple[Tensor, Tensor],
        position: Tensor,
        attend: Attend,
        cache: KVCache | None,
        slots: Tensor | None,
        chunk: int,
        overlap: bool,
    ) -> Tensor:
        heads = project_heads(
            stream,
            layer.project,
            angles,
            position,
            self.heads,
            self.head_dim,
            layer.attention_eps,
            cache=cache,
            slots=slots,
            chunk=chunk,
            overlap=overlap,
        )
        return attend(number, *heads).flatten(1)

    def _packed(self, bounds: np.ndarray) -> Attend:
        """Attention of whole sequences; layers of one pattern share a plan."""
        from longwatch.kernels.triton_impl.device_plan import build_device_plan

        device = self.weights.start.device
        plans = {
            pattern: build_device_plan(pattern, bounds, device=device, backward=False)
            for pattern in {layer.pattern for layer in self.weights.layers}
        }

        def attend(number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return attention_forward(query, key, value, plans[self.weights.layers[number].pattern], self.scale)[0]

        return attend


def _feed(layer: LayerWeights, stream: Tensor, mixed: Tensor, out: Tensor | None, overlap: bool) -> Tensor:
    stream = invariant_linear(mixed, layer.attention_out, residual=stream, overlap=overlap)
    hidden = invariant_linear(stream, layer.gate_up, norm_eps=layer.feed_eps, gated=True, overlap=overlap)
    return invariant_linear(hidden, layer.feed_out, residual=stream, out=out, overlap=overlap)


def _kept(attend: Attend, state: StreamState, slots: np.ndarray, lengths: np.ndarray, position: Tensor) -> Attend:
    """Attention that also writes keys and values into the state."""
    state.reset(slots[slots >= 0])
    state.advance(slots, lengths)
    device = position.device
    slot, length = (
        torch.from_numpy(np.repeat(array, lengths).astype(np.int32)).to(device) for array in (slots, lengths)
    )

    def keep(number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        write_cache(key, value, state.caches[number], slot, position, length)
        return attend(number, query, key, value)

    return keep


def _keep_newest(state: StreamState, slots: np.ndarray, bounds: np.ndarray, buffer: Tensor) -> None:
    used = (slots >= 0) & (np.diff(bounds) > 0)
    to, last, length = (
        torch.from_numpy(array[used]).to(buffer.device) for array in (slots, bounds[1:], np.diff(bounds))
    )
    state.buffer[1 + to] = buffer[last]
    state.cursors[to] = length.int()
