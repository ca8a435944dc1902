"""A step graph in ONNX Runtime, its caches bound once as values that stay where they are; needs no torch."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from longwatch.model.config import ModelConfig
from longwatch.model.scorer.batching import INPUT_NAMES, ModelInputs
from longwatch.model.scorer.onnx_session import open_session
from longwatch.model.scorer.step_cache import cache_specs


class StepSession:
    """A step graph and its caches: `slots` streams, of which any can go on by up to `chunk` events at a time.

    Caches are written in place. Those whose patterns reach to a stream's start grow, by doubling, with the longest.
    """

    def __init__(
        self, graph: bytes, config: ModelConfig, slots: int = 1, chunk: int = 64, threads: int = 1, device: str = "cpu"
    ) -> None:
        self.config, self.slots, self.chunk, self._device = config, slots, chunk, device
        self._specs = cache_specs(config)
        self._session = open_session(graph, threads, device)
        self._capacity = chunk
        self._caches = {spec.input: self._empty(spec.rows(self._capacity, chunk)) for spec in self._specs}
        self._newest = self._value(np.zeros((slots, 2, config.d_model), np.float32))
        self._binding = self._bound()

    def run(self, slot: NDArray[np.int64], position: NDArray[np.int64], inputs: ModelInputs) -> NDArray[np.float32]:
        """Surprise float32 [S, C] of the next C events of the streams in slots [S], which have had position [S].

        Position 0 begins a new stream. ValueError for more events at once than the session's chunk.
        """
        events = inputs.token.shape[1]
        if events > self.chunk:
            raise ValueError(f"inputs: expected at most {self.chunk} events at once, the session's, got {events}")
        self._reach(int(position.max(initial=0)) + events)
        feeds = dict(zip(INPUT_NAMES, inputs.arrays, strict=True)) | {"slot": slot, "position": position}
        for name, array in feeds.items():
            self._binding.bind_cpu_input(name, np.ascontiguousarray(array, np.int64))
        self._binding.bind_output("surprise", "cpu")  # anew: its last value belongs to who got it
        self._session.run_with_iobinding(self._binding)
        found: NDArray[np.float32] = self._binding.get_outputs()[-1].numpy()
        return found

    @property
    def cache_bytes(self) -> int:
        """Memory of all caches."""
        return sum(int(np.prod(value.shape())) * 4 for value in (self._newest, *self._caches.values()))

    def _reach(self, length: int) -> None:
        """Makes growing caches large enough for streams of `length` events."""
        if length <= self._capacity or not any(spec.part.grows for spec in self._specs):
            return
        while self._capacity < length:
            self._capacity *= 2
        for spec in (spec for spec in self._specs if spec.part.grows):
            old = self._caches[spec.input].numpy()
            new = np.zeros((*old.shape[:2], spec.rows(self._capacity, self.chunk), old.shape[3]), np.float32)
            new[:, :, : old.shape[2] - 1] = old[:, :, :-1]  # the last row is no column's
            self._caches[spec.input] = self._value(new)
        self._binding = self._bound()

    def _bound(self) -> Any:
        """Caches as both input and output of each step: the graph then changes the rows it writes, and copies none."""
        binding = self._session.io_binding()
        for name, value in (("newest", self._newest), *self._caches.items()):
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(f"next_{name}", value)
        return binding

    def _empty(self, rows: int) -> Any:
        return self._value(np.zeros((self.slots, self.config.num_kv_heads, rows, self.config.head_dim), np.float32))

    def _value(self, array: NDArray[np.float32]) -> Any:
        # A copy: on the CPU the value would be the caller's own array.
        return onnxruntime.OrtValue.ortvalue_from_numpy(array.copy(), self._device, 0)
