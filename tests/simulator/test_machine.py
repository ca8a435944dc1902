"""Whatever happens to a pipeline, nothing is lost and nothing is doubled: hypothesis looks for what breaks it."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from simulator.machine import TOTALS, PipelineMachine

SHORT = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


def test_nothing_is_lost_and_nothing_is_doubled_whatever_happens(quiet):
    TOTALS.clear()
    run_state_machine_as_test(PipelineMachine, settings=SHORT)
    assert TOTALS["steps"] > 2_000
