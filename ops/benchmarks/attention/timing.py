"""Times contenders in turn (A B C A B C ...) on the device, with cold caches, and says how far the runs spread."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

# Longer than any launch here takes the host, so that the events see the device's time alone.
_HEAD_START_CYCLES = 8_000_000
_FLUSH_BYTES = 256 << 20


@dataclass(frozen=True)
class Work:
    """What is timed, and what comes before it each time outside the clock."""

    timed: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Times:
    """Median and quartiles, in milliseconds."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, times: list[float]) -> "Times":
        """From single runs."""
        low, median, high = torch.tensor(times, dtype=torch.float64).quantile(
            torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        )
        return cls(float(median), float(low), float(high), len(times))

    def row(self) -> dict[str, Any]:
        """For a JSON line."""
        return {"ms": round(self.median, 5), "q1": round(self.low, 5), "q3": round(self.high, 5), "runs": self.runs}


@cache
def _flush_buffer() -> Tensor:
    return torch.empty(_FLUSH_BYTES, dtype=torch.int8, device="cuda")


def on_device(works: Mapping[str, Work], runs: int = 30, warm: int = 3) -> dict[str, Times]:
    """Device time between two events around each contender, interleaved."""
    for work in works.values():
        for _ in range(warm):
            work.timed(work.prepare())
    torch.cuda.synchronize()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        pairs = {name: _between_events(work) for name, work in works.items()}
        torch.cuda.synchronize()
        for name, (start, stop) in pairs.items():
            taken[name].append(start.elapsed_time(stop))
    return {name: Times.of(times) for name, times in taken.items()}


def _between_events(work: Work) -> tuple[torch.cuda.Event, torch.cuda.Event]:
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    state = work.prepare()
    _flush_buffer().zero_()
    torch.cuda._sleep(_HEAD_START_CYCLES)
    start.record()
    work.timed(state)
    stop.record()
    return start, stop


def on_host(works: Mapping[str, Work], runs: int = 30, warm: int = 3) -> dict[str, Times]:
    """Host time from call to the device's last result, interleaved: launches and host code count."""
    for work in works.values():
        for _ in range(warm):
            work.timed(work.prepare())
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            state = work.prepare()
            taken[name].append(wall_ms(lambda work=work, state=state: work.timed(state)))
    return {name: Times.of(times) for name, times in taken.items()}


def wall_ms(work: Callable[[], object]) -> float:
    """One call's host time, the device being idle before and after."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1e3


def peak_bytes(work: Callable[[], object]) -> int:
    """Most device memory that one call holds beyond what was there before it."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def slope(sizes: list[int], times: list[float]) -> float:
    """Of log(time) against log(size), by least squares."""
    size, taken = (torch.tensor(values, dtype=torch.float64).log() for values in (sizes, times))
    size = size - size.mean()
    return float((size * (taken - taken.mean())).sum() / (size * size).sum())


def ceilings() -> dict[str, float]:
    """What this device reaches: a large copy (bytes read and written) and a large bf16 product."""
    source = torch.empty(1 << 31, dtype=torch.int8, device="cuda").random_()
    target = torch.empty_like(source)
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    works = {"copy": Work(lambda _: target.copy_(source)), "product": Work(lambda _: left @ right)}
    times = on_device(works, runs=10)
    copy = 2 * source.numel() / times["copy"].median / 1e9
    return {"copy_tb_s": round(copy, 3), "bf16_tf_s": round(2 * 8192**3 / times["product"].median / 1e9, 1)}
