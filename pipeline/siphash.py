"""SipHash-1-3, compiled: a hash with a key, without which nobody can choose texts that collide."""

import numpy as np
from numpy.typing import NDArray

from longwatch.pipeline.compiled import compiled


@compiled
def _rotated(word: np.uint64, bits: int) -> np.uint64:
    return word << np.uint64(bits) | word >> np.uint64(64 - bits)


@compiled
def _round(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64) -> tuple[np.uint64, ...]:
    v0, v2 = v0 + v1, v2 + v3
    v1, v3 = _rotated(v1, 13) ^ v0, _rotated(v3, 16) ^ v2
    v0, v2 = _rotated(v0, 32) + v3, v2 + v1
    v3, v1 = _rotated(v3, 21) ^ v0, _rotated(v1, 17) ^ v2
    return v0, v1, _rotated(v2, 32), v3


@compiled
def siphash13(words: NDArray[np.uint64], size: int, key: NDArray[np.uint64]) -> np.uint64:
    """Hash of the first `size` bytes of `words`, which has zeros behind them, under a key of two words."""
    v0, v1 = key[0] ^ np.uint64(0x736F6D6570736575), key[1] ^ np.uint64(0x646F72616E646F6D)
    v2, v3 = key[0] ^ np.uint64(0x6C7967656E657261), key[1] ^ np.uint64(0x7465646279746573)
    for at in range(size >> 3):
        v3 ^= words[at]
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= words[at]
    last = words[size >> 3] | np.uint64(size & 255) << np.uint64(56)
    v3 ^= last
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= last
    v2 ^= np.uint64(255)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3
