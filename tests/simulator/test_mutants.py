"""Take one decision of the commit protocol away, and the simulator sees it: a mutation score of 100 %."""

import pytest

from simulator.drive import run
from simulator.hunt import hunt
from simulator.mutants import MUTANTS

# The seeds 0, 1, 2 ... catch these, too, only later: `python -m tests.simulator --mutants` counts from 0.
NEAR = {
    "go_on_after_fencing": 120,
    "forget_the_watermark": 60,
    "keep_state_of_lost_partitions": 165,
    "stay_outside_the_log": 345,
    "send_the_offsets_of_an_aborted_transaction_again": 92,
    "commit_without_a_generation": 90,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_protocol_is_caught(name, quiet, capsys):
    caught = hunt(name, NEAR.get(name, 0))
    with capsys.disabled():
        print(f"\n  {caught}", end="")
    assert caught.invariant is not None


def test_the_protocol_itself_survives_the_seeds_that_catch_its_mutants(quiet):
    for seed in range(60):
        _, violation = run(seed)
        assert violation is None, f"{violation.detail}; {violation.command}"
