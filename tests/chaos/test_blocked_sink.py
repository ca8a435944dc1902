"""A sink that takes nothing for a while: the worker waits without reading, stays in its group, and comes back."""

from pathlib import Path

import pytest

from chaos.blocked import Course, Trial, run
from chaos.proxy_run import proxied_kafka

pytestmark = [pytest.mark.broker]

QUICK = ("sink.kafka.transaction_timeout=3s",)
"""A commit is given up after two thirds of it."""

MOST_LINES = 60


def blocked(folder: Path, trial: Trial, *settings: str) -> Course:
    with proxied_kafka(folder / "broker", trial.seed) as (kafka, proxy):
        course = run(kafka, proxy, folder, trial, *settings)
    again = f"make blocked SECONDS={trial.seconds:g} SEED={trial.seed} KIND={trial.kind} RATE={trial.rate}"
    broken = [name for name, held in course.holds.items() if not held]
    # Seconds of waiting for the next try are most of the way back after a short block.
    broken = [name for name in broken if name != "caught_up" or trial.seconds > 60]
    assert not broken, (
        f"{broken}: {course.report()}; again: {again}\n{(folder / 'blocked' / 'worker.log').read_text()[-4000:]}"
    )
    return course


def test_a_blocked_sink_costs_no_record_no_memory_and_no_place_in_the_group(tmp_path: Path) -> None:
    course = blocked(tmp_path, Trial(seconds=8, rate=500, kind="refuse"), *QUICK)
    report = course.report()
    assert report["backlog"] > 6 * 500
    assert report["caught_up_after_s"] < 20
    assert report["log_lines_while_blocked"] < MOST_LINES
    assert min(report["outputs"].values()) > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["half_open", "refuse"])
def test_minutes_without_a_sink_are_caught_up_at_five_times_the_arrival(tmp_path: Path, kind: str) -> None:
    blocked(tmp_path, Trial(seconds=240, kind=kind))
