"""How long a mutant of the protocol lives in the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.drive import run
from simulator.mutants import MUTANTS, Mutant

MOST_RUNS = 1_000


@dataclass(frozen=True)
class Caught:
    """After how many steps, by which invariant; None when it was not."""

    name: str
    steps: int
    invariant: str | None

    def __str__(self) -> str:
        return f"{self.name:52} {self.steps:6,} steps  {self.invariant or 'NOT CAUGHT'}"


def hunt(name: str, first_seed: int = 0, mutants: Mapping[str, Mutant] = MUTANTS, *, swaps: bool = False) -> Caught:
    """Run one seed after the other with the mutant in place until an invariant breaks."""
    steps = 0
    with mutants[name]():
        for seed in range(first_seed, first_seed + MOST_RUNS):
            world, violation = run(seed, swaps=swaps)
            steps += world.steps
            if violation is not None:
                return Caught(name, steps, violation.invariant)
    return Caught(name, steps, None)
