"""Very many steps, on several processes: each run is made from its own seed, whoever makes it."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import structlog

from simulator.drive import run

CHUNK_RUNS = 25
LENGTH = 150
"""Longer runs than a shrunk case wants: settling at the end of each is what costs."""


def _chunk(first_seed: int, *, swaps: bool = False) -> dict[str, object]:
    """So many runs, in a process of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    steps, rules, endings, violations = 0, Counter[str](), Counter[str](), []
    for seed in range(first_seed, first_seed + CHUNK_RUNS):
        world, violation = run(seed, LENGTH, swaps=swaps)
        steps += world.steps
        rules += world.counts
        endings += world.endings
        if violation is not None:
            violations.append({"command": violation.command, "step": violation.step, "what": violation.detail})
    return {"steps": steps, "rules": rules, "endings": endings, "violations": violations}


def _seeds(seed: int) -> Iterator[int]:
    first = seed * 1_000_000_000
    while True:
        yield first
        first += CHUNK_RUNS


def many(steps: int, seed: int, processes: int, *, swaps: bool = False) -> int:
    """At least so many steps; the report as JSON on stdout, how far it is on stderr. 1 when something broke."""
    started, total, runs = time.monotonic(), 0, 0
    rules, endings, violations = Counter[str](), Counter[str](), []
    seeds = _seeds(seed)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        while total < steps:
            for part in pool.map(partial(_chunk, swaps=swaps), [next(seeds) for _ in range(4 * processes)]):
                total += part["steps"]  # type: ignore[operator]
                runs += CHUNK_RUNS
                rules += part["rules"]  # type: ignore[arg-type]
                endings += part["endings"]  # type: ignore[arg-type]
                violations += part["violations"]  # type: ignore[arg-type]
            print(f"{total:,} steps, {len(violations)} violations", file=sys.stderr, flush=True)
    report = {
        "steps": total,
        "runs": runs,
        "seed": seed,
        "swaps": swaps,
        "seconds": round(time.monotonic() - started, 1),
        "violations": violations,
        "rules": dict(sorted(rules.items())),
        "worker_endings": dict(sorted(endings.items())),
    }
    print(json.dumps(report, indent=1))
    return 1 if violations else 0
