"""Functions that Numba compiles, kept on disk where that is possible."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled when it is first called, outside the interpreter's lock; without a cache if no folder for
    one can be written (a container with a read-only root; `NUMBA_CACHE_DIR` names one that can).
    """
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        return njit(nogil=True, error_model="numpy")(function)
