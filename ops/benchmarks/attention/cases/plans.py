"""Must show 4: what a plan costs on the device, and a hundred new lengths in a row."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import flex_attention

from attention.documents import zipf_lengths
from attention.match import in_turn, ratio
from attention.ours import capture
from attention.peers import block_mask, mask_builder, mask_mod
from attention.problem import Problem
from attention.report import Run, Target
from attention.timing import Times, Work, on_host, wall_ms
from longwatch.kernels import block_sparse_attention, plan_on_device

LENGTHS, SHORTEST, LONGEST = 100, 1024, 16384
# Other lengths than those that are timed, multiples of 16 and not: what compilers tell apart.
WARM = (1500, 9000, 3000, 4096, 2048)


def plan(run: Run) -> None:
    """64k tokens: our plan by device time, by the host's clock, as a graph's replay; FlexAttention's warm and cold."""
    shapes = {
        "64k x 1": ((65536,), "sliding(512)"),
        "16k x 4": ((16384,) * 4, "sliding(512)"),
        "64k zipf": (zipf_lengths(65536, 1.0, seed=1), "sliding(512)"),
        "64k x 1 + global": ((65536,), "sliding(1024) | global(128)"),
        "64k x 1 dense": ((65536,), "dense"),
    }
    for shape, (lengths, pattern) in shapes.items():
        _plan(run, shape, Problem(lengths, pattern), peer=len(set(lengths)) == 1 and pattern != "dense")


def _plan(run: Run, shape: str, problem: Problem, peer: bool) -> None:
    cu_seqlens = torch.tensor(problem.bounds, dtype=torch.int32, device="cuda")
    longest = max(problem.lengths)

    def build() -> Any:
        return plan_on_device(problem.rule, cu_seqlens, tokens=problem.tokens, max_seqlen=longest)

    rows: dict[str, dict[str, Any]] = {}
    cold = {"ours": wall_ms(build)}
    device, host = {"ours": Work(lambda _: build())}, {"ours": Work(lambda _: build())}
    graph, failed = run.attempt("graph", lambda: capture(build))
    if failed is None:
        device["ours/graph"] = Work(lambda _: graph.replay())
    else:
        rows["ours/graph"] = {"failed": failed}
    if peer:
        mod = mask_mod(problem.rule)
        cold["flex"], failed = run.attempt("flex", lambda: wall_ms(lambda: block_mask(mod, longest)))
        if failed is None:
            device["flex"] = host["flex"] = Work(lambda _: block_mask(mod, longest))
        else:
            rows["flex"] = {"failed": failed}
    rows |= {name: times.row() for name, times in in_turn(run, device, rows).items()}
    for name, times in in_turn(run, host, rows, on_host).items():
        rows[f"{name}/host"] = times.row() | {"first_call_s": round(cold[name] / 1e3, 3)}
    targets = [Target("plan on the device, us", rows["ours"]["ms"] * 1e3, 100, most=True)]
    if peer:
        targets.append(Target("mask / plan, host (reach)", ratio(rows, "flex/host", "ours/host"), 50))
    run.report("plan", tuple(targets), shape=shape, problem=problem.about(), contenders=rows)


def recompile(run: Run) -> None:
    """Total wall of mask or plan and forward over new lengths, after a warm-up on others; compilations counted."""
    lengths = [int(n) for n in np.random.default_rng(0).integers(SHORTEST, LONGEST, LENGTHS)]
    problem = Problem((LONGEST,), "sliding(512)")
    ours, dynamic = _our_step(problem), _flex_step(problem, dynamic=True)
    first = sum(_timed(ours, length) for length in WARM) / 1e3
    row: dict[str, dict[str, Any]] = {}
    with compilations() as compiled:
        row["ours"] = _total([_timed(ours, length) for length in lengths], LENGTHS)
    row["ours"] |= {"compilations": len(compiled), "first_call_s": round(first, 2)}
    for name, step in (("flex/dynamic", dynamic), ("flex/static", _flex_step(problem, dynamic=False))):
        found, failed = run.attempt(name, lambda step=step, name=name: _flex_total(run, step, lengths, name))
        row[name] = found if failed is None else {"failed": failed}
    targets = (
        *(Target(f"{name} / ours, total wall", _over(row, name), 20) for name in ("flex/static", "flex/dynamic")),
        Target("flex/dynamic / ours, first calls included", _over(row, "flex/dynamic", "first_call_s"), 20),
        Target("our compilations", len(compiled), 0, most=True),
    )
    run.report("recompile", targets, shape="100 new lengths", problem=problem.about(), contenders=row)


def _over(row: dict[str, dict[str, Any]], name: str, *also: str) -> float:
    """Seconds of one over ours."""
    sums = [sum(row[one].get(key, float("nan")) for key in ("total_s", *also)) for one in (name, "ours")]
    return sums[0] / sums[1]


def _our_step(problem: Problem) -> Callable[[int], object]:
    query, key, value, _ = problem.data()

    def step(length: int) -> object:
        with torch.no_grad():
            plan = plan_on_device(problem.rule, [0, length])
            return block_sparse_attention(query[:length], key[:length], value[:length], plan)

    return step


def _flex_step(problem: Problem, dynamic: bool) -> Callable[[int], object]:
    query, key, value = (tensor.transpose(0, 1).contiguous()[None] for tensor in problem.data()[:3])
    mod = mask_mod(problem.rule)
    build = mask_builder(dynamic)
    call = torch.compile(flex_attention, dynamic=dynamic)

    def cut(tensor: Tensor, length: int) -> Tensor:
        return tensor[:, :, :length]

    def step(length: int) -> object:
        with torch.no_grad():
            mask = build(mod, None, None, length, length, "cuda")
            return call(cut(query, length), cut(key, length), cut(value, length), block_mask=mask)

    return step


def _flex_total(run: Run, step: Callable[[int], object], lengths: list[int], name: str) -> dict[str, Any]:
    started = time.perf_counter()
    for length in WARM:
        step(length)
    warm = time.perf_counter() - started
    counters.clear()
    # A static build may compile for every length: as many as there is time for, the rest by their mean.
    limit = run.seconds_left() * 0.5 if name.endswith("dynamic") else min(20.0, run.seconds_left() * 0.9)
    walls: list[float] = []
    for length in lengths:
        walls.append(_timed(step, length))
        if sum(walls) / 1e3 > limit:
            break
    row = _total(walls, len(lengths))
    return row | {"compilations": int(counters["stats"]["unique_graphs"]), "first_call_s": round(warm, 2)}


def _timed(step: Callable[[int], object], length: int) -> float:
    return wall_ms(lambda: step(length))


def _total(walls: list[float], asked: int) -> dict[str, Any]:
    """Sum over the lengths asked for, in seconds; `measured` says from how many."""
    return Times.of(walls).row() | {"total_s": round(sum(walls) / len(walls) * asked / 1e3, 4), "measured": len(walls)}


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The kernels that Triton compiles (or reads from its cache) meanwhile; FlexAttention's take another way."""
    found: list[str] = []

    def hook(**what: Any) -> None:
        found.append(str(what.get("repr", "")))

    before = triton.knobs.runtime.jit_post_compile_hook
    triton.knobs.runtime.jit_post_compile_hook = hook
    try:
        yield found
    finally:
        triton.knobs.runtime.jit_post_compile_hook = before
