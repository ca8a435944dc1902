"""One problem, several contenders: built, checked, timed in turn."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from attention.contender import Contender, errors
from attention.ours import ours, variants
from attention.problem import Problem
from attention.report import Run
from attention.timing import Times, Work, on_device, wall_ms
from longwatch.kernels import plan_on_device

Builders = Mapping[str, Callable[[], Contender]]
# Relative Frobenius error above which a number is not worth its time; bf16 attention lies near 3e-3.
WRONG = 2e-2


def our_builders(problem: Problem, atomic: bool = False) -> dict[str, Callable[[], Contender]]:
    """Every variant over one plan; the atomic backward only where a backward is timed."""
    plan = plan_on_device(problem.rule, problem.bounds)
    left_out = {"ours/int8"} if atomic else {"ours/int8", "ours/atomic"}
    chosen = [name for name in variants() if name not in left_out]
    return {name: partial(ours, problem, name, plan) for name in chosen}


def match(
    run: Run, problem: Problem, builders: Builders, kinds: tuple[str, ...], check: bool = True
) -> dict[str, dict[str, Any]]:
    """For each kind of work ("forward", "backward", "both"): contender -> its row.

    check=False for a pattern that positions do not decide: its errors and its live scores are not known here.
    """
    backward = kinds != ("forward",)
    rows: dict[str, dict[str, Any]] = {}
    ready: dict[str, Contender] = {}
    for name, build in builders.items():
        row, failed = run.attempt(name, lambda build=build: _ready(build, problem, backward, check))
        if failed is not None:
            rows[name] = {"failed": failed}
            continue
        ready[name], rows[name] = row
    results = {}
    for kind in kinds:
        times = in_turn(run, {name: contender.work(kind) for name, contender in ready.items()}, rows)
        results[kind] = {
            name: rows[name] | _speed(problem, kind, times[name], check) if name in times else rows[name]
            for name in rows
        }
    ready.clear()
    torch.cuda.empty_cache()
    return results


def _ready(
    build: Callable[[], Contender], problem: Problem, backward: bool, check: bool
) -> tuple[Contender, dict[str, Any]]:
    contender = build()
    work = contender.work("both" if backward else "forward")
    first = wall_ms(lambda: work.timed(work.prepare()))
    found = errors(contender, problem, backward) if check else {}
    wrong = not all(error < WRONG for error in found.values())
    row: dict[str, Any] = {"errors": found, "first_call_s": round(first / 1e3, 2)}
    return contender, row | ({"wrong": True} if wrong else {})


def in_turn(
    run: Run,
    works: Mapping[str, Work],
    rows: dict[str, dict[str, Any]],
    clock: Callable[..., dict[str, Times]] = on_device,
    runs: int | None = None,
) -> dict[str, Times]:
    """Times of those that run at all; one that breaks while it warms up leaves the field, and its row says why."""
    sound = dict(works)
    for name, work in works.items():
        _, failed = run.attempt(name, lambda work=work: work.timed(work.prepare()))
        if failed is not None:
            rows.setdefault(name, {})["failed"] = failed
            del sound[name]
    return clock(sound, runs or run.runs) if sound else {}


def _speed(problem: Problem, kind: str, times: Times, live: bool) -> dict[str, Any]:
    return times.row() | ({"tf_s": round(problem.flops(kind) / times.median / 1e9, 1)} if live else {})


def ratio(rows: Mapping[str, Any], over: str, under: str = "ours") -> float:
    """Time of `over` by time of `under`; NaN where one is missing or wrong."""
    first, second = rows.get(over, {}), rows.get(under, {})
    if "ms" not in first or "ms" not in second or "wrong" in first or "wrong" in second:
        return float("nan")
    return float(first["ms"] / second["ms"])
