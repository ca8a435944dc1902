"""`python -m tests.simulator --steps 1000000 --seed 0`: many seeded runs; prints JSON and exits 1 on a violation.

`--run N --length L` repeats one run, step by step; `--mutants` prints after how many steps each mutant is caught, and
by what.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# One thread a process: handing a batch of three records to a pool costs more than the work.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog


def _one(seed: int, length: int, *, swaps: bool) -> int:
    from simulator import drive

    world, violation = drive.run(seed, length, swaps=swaps)
    for place, (name, arguments) in enumerate(violation.steps if violation else [], 1):
        print(place, name, *arguments)
    print(violation.detail if violation else f"{world.steps} steps, no violation")
    return 1 if violation else 0


def _mutants() -> int:
    from simulator.hunt import hunt
    from simulator.mutants import EQUIVALENT, MUTANTS

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    caught = [hunt(name) for name in MUTANTS]
    for found in caught:
        print(found)
    print(f"{sum(each.invariant is not None for each in caught)} of {len(caught)} caught; not counted, as equivalent:")
    for name, why in EQUIVALENT.items():
        print(f"  {name}: {why}")
    return 0 if all(each.invariant for each in caught) else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--run", type=int)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--swaps", action="store_true", help="bundles are swapped meanwhile")
    asked = parser.parse_args()
    if asked.run is not None:
        return _one(asked.run, asked.length, swaps=asked.swaps)
    if asked.mutants:
        return _mutants()
    from simulator.many import many

    return many(asked.steps, asked.seed, asked.processes, swaps=asked.swaps)


if __name__ == "__main__":
    sys.exit(main())
