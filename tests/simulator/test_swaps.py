"""Bundles that are swapped while anything may fail: nothing lost, nothing doubled, all by the committed bundle."""

import pytest

from simulator.drive import run
from simulator.hunt import hunt
from simulator.swap_mutants import SWAP_MUTANTS

RUNS = 60


@pytest.mark.parametrize("name", SWAP_MUTANTS)
def test_a_mutant_of_the_swap_is_caught(name, quiet):
    assert hunt(name, 0, SWAP_MUTANTS, swaps=True).invariant is not None


def test_swaps_survive_the_seeds_that_catch_their_mutants(quiet):
    recorded = closed = 0
    for seed in range(RUNS):
        world, violation = run(seed, swaps=True)
        assert violation is None, f"{violation.detail}; {violation.command}"
        recorded += sum(max(0, len(replay.changes) - 1) for replay in world.oracle.replays)
        closed += sum(b"bundle_swapped" in payload for seen in world.oracle.seen for payload in seen.values())
    assert recorded > RUNS
    assert closed > RUNS / 2
