"""A step as one CUDA graph: inputs in, a few fused kernels a layer, scores out, no launch paid twice."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from longwatch.kernels.triton_impl.embed import fetch_inputs
from longwatch.model.stream.network import EventRows, StreamNetwork
from longwatch.model.stream.state import StreamState

__all__ = ["StepGraph"]


class StepGraph:
    """Steps of up to `streams` streams, `chunk` events each, on a state; several graphs may share a state.

    events: float32 [U, K] as `StreamNetwork.events` gives them. The graph reads this very tensor: write into it to
    learn new templates. overlap: kernels take their places on the device while the one before them runs.
    """

    def __init__(
        self,
        network: StreamNetwork,
        events: Tensor,
        state: StreamState,
        streams: int,
        chunk: int = 1,
        overlap: bool = True,
    ) -> None:
        if not 1 <= streams <= state.slots or not 1 <= chunk <= state.chunk:
            raise ValueError(
                f"streams, chunk: expected 1 to {state.slots} and 1 to {state.chunk}, the state's, "
                f"got {streams}, {chunk}"
            )
        self.network, self.state, self.streams, self.chunk = network, state, streams, chunk
        rows = streams * chunk
        self._host = torch.zeros(2 * streams + 4 * rows, dtype=torch.int32).pin_memory()
        self._host[:streams] = -1
        self._device = self._host.to(state.cursors.device)
        self._scores = torch.zeros(rows).pin_memory()
        self._inputs = [place.numpy() for place in _split(self._host, streams, rows)]
        self._found = self._scores.numpy().reshape(streams, chunk)
        slots, counts, *columns = _split(self._device, streams, rows)
        inputs = EventRows(*columns)

        def step() -> None:
            fetch_inputs(self._host, self._device)
            network.run_step(events, inputs, state, slots, counts, chunk, overlap, out=self._scores)

        # Compiles the kernels. Idle streams: it leaves the state as it was.
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            step()

    def run(
        self,
        slots: ArrayLike,
        counts: ArrayLike,
        token: ArrayLike,
        gap: ArrayLike,
        shape: ArrayLike,
        target: ArrayLike,
    ) -> NDArray[np.float32]:
        """Surprise [streams, chunk] of the streams' next events, as `StreamNetwork.step`; arrays of the graph's sizes.

        ValueError where a stream would outgrow the state.
        """
        if np.asarray(counts).max(initial=0) > self.chunk:
            raise ValueError(f"counts: expected at most {self.chunk}, the graph's, got {np.asarray(counts).max()}")
        self.state.advance(slots, counts)
        for place, column in zip(self._inputs, (slots, counts, token, gap, shape, target), strict=True):
            place[:] = np.reshape(column, -1)
        self.graph.replay()
        torch.cuda.current_stream().synchronize()
        return self._found.copy()


def _split(buffer: Tensor, streams: int, rows: int) -> list[Tensor]:
    """Slots, counts [streams], then token, gap, shape, target [rows]."""
    return list(torch.split(buffer, [streams, streams, rows, rows, rows, rows]))
