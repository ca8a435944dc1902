"""Backends in turn, of which one that fails must not lose the others' figures; and the networks that are measured."""

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

# Of the CPU's benchmark, in the order of their graphs' file names.
NAMES = ("default", "span 512, width 256")

Run = Callable[[], NDArray[np.float32]]


def lines(
    makers: dict[str, Callable[[], Run]], about: dict[str, object], events: int, rounds: int
) -> Iterator[dict[str, object]]:
    """One line a backend: its rounds after the first, and how far its scores are from the first backend's."""
    first = None
    for name, make in makers.items():
        try:
            found, times = repeated(make(), rounds)
        except Exception as error:
            yield {"backend": name, **about, "error": repr(error)[:400]}
            continue
        first = found if first is None else first
        p50, p99 = np.quantile(times, (0.5, 0.99))
        yield {
            "backend": name,
            **about,
            "p50_us": round(p50 * 1e6, 1),
            "p99_us": round(p99 * 1e6, 1),
            "events_a_second": round(events / p50),
            "largest_difference_from_the_first": float(np.abs(found - first).max()),
        }


def repeated(run: Run, rounds: int) -> tuple[NDArray[np.float32], list[float]]:
    """What it gives the first time, and seconds of the later rounds."""
    found, times = run(), []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return found, times
