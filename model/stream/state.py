"""What streams leave behind for their next event: keys and values, the newest row, and how far each has come."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from longwatch.kernels import Pattern
from longwatch.kernels.triton_impl.cache import KVCache

__all__ = ["StreamState"]


class StreamState:
    """State of up to `slots` streams on one device. Positions are kept there too: a step needs nothing from the host.

    caches: one per layer. cursors: int32 [slots], events so far. buffer: [1 + slots + rows, K]: the start vector, the
    newest row of each slot, and room for the rows of one step.
    """

    def __init__(
        self,
        patterns: Sequence[Pattern],
        start: Tensor,
        *,
        slots: int,
        kv_heads: int,
        head_dim: int,
        chunk: int,
        capacity: int,
    ) -> None:
        if slots < 1 or chunk < 1 or capacity < 1:
            raise ValueError(f"slots, chunk, capacity: expected at least 1 each, got {slots}, {chunk}, {capacity}")
        self.slots, self.chunk = slots, chunk
        self.caches = [
            KVCache.of(
                pattern,
                slots=slots,
                kv_heads=kv_heads,
                head_dim=head_dim,
                chunk=chunk,
                capacity=capacity,
                dtype=start.dtype,
                device=start.device,
            )
            for pattern in patterns
        ]
        bounds = [cache.capacity for cache in self.caches if cache.capacity is not None]
        self.capacity = min(bounds) if bounds else None
        self.cursors = torch.zeros(slots, dtype=torch.int32, device=start.device)
        self.buffer = start.new_zeros(1 + slots + slots * chunk, len(start))
        self.buffer[0] = start
        self.lengths = np.zeros(slots, np.int64)  # the host's copy of the cursors

    @property
    def base(self) -> int:
        """The buffer's first row of a step."""
        return 1 + self.slots

    def reset(self, slots: ArrayLike) -> None:
        """These slots hold new, empty streams."""
        chosen = np.asarray(slots, np.int64)
        self.lengths[chosen] = 0
        self.cursors[torch.from_numpy(chosen).to(self.cursors.device)] = 0

    def advance(self, slots: ArrayLike, counts: ArrayLike) -> None:
        """Notes that streams get `counts` more events; ValueError, and nothing noted, where that cannot be."""
        chosen, new = np.asarray(slots, np.int64), np.asarray(counts, np.int64)
        live = chosen >= 0
        used = chosen[live]
        if len(set(used.tolist())) < len(used) or used.max(initial=-1) >= self.slots:
            raise ValueError(f"slots: expected different numbers below {self.slots}, or -1, got {chosen[:8].tolist()}")
        longest = self.lengths[used] + new[live]
        if self.capacity is not None and (longest > self.capacity).any():
            slot = int(used[longest.argmax()])
            raise ValueError(
                f"counts: slot {slot} would hold {longest.max()} events, expected at most its capacity "
                f"{self.capacity}; reset it, or make a state of more capacity"
            )
        self.lengths[used] = longest
