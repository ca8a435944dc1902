"""Health is judged from what the loop last did, when it is asked for."""

import pytest

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.metrics.health import START_S, Limits, Pulse

LIMITS = Limits(stalled_s=60, unready_s=30)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def pulse(clock):
    """Of a worker at work: its bundle is open, it is assigned, and all is committed."""
    pulse = Pulse(clock, LIMITS)
    pulse.opened = True
    pulse.beat(joined=True, answers=True, waiting_since=None)
    return pulse


def beat_until(pulse, clock, ms, **said):
    """Rounds of a loop, one a second."""
    for _ in range(0, ms, 1000):
        clock.advance(1000)
        pulse.beat(**({"joined": True, "answers": True, "waiting_since": None} | said))


def test_a_worker_at_work_is_healthy_and_ready(pulse):
    assert (pulse.sick(), pulse.unready()) == ([], [])


def test_a_loop_that_stands_still_is_unready_first_and_then_sick(pulse, clock):
    clock.advance(31_000)
    assert pulse.sick() == []
    assert pulse.unready() == ["the loop stands still since 31 s"]
    clock.advance(30_000)
    assert pulse.sick() == ["the loop stands still since 61 s"]


def test_a_broker_that_is_away_makes_unready_and_never_sick(pulse, clock):
    beat_until(pulse, clock, 3_600_000, answers=False)
    assert pulse.sick() == []
    assert pulse.unready() == ["the broker does not answer since 3599 s"]
    pulse.beat(joined=True, answers=True, waiting_since=None)
    assert pulse.unready() == []


def test_work_that_waits_for_its_commit_makes_unready(pulse, clock):
    began = clock.monotonic()
    beat_until(pulse, clock, 30_000, waiting_since=began)
    assert pulse.unready() == []
    beat_until(pulse, clock, 1_000, waiting_since=began)
    assert pulse.unready() == ["work waits for its commit since 31 s"]


def test_an_idle_worker_stays_ready_however_long_ago_its_last_commit_was(pulse, clock):
    beat_until(pulse, clock, 3_600_000)
    assert pulse.unready() == []


def test_starting_is_no_sickness_until_it_takes_too_long(clock):
    pulse = Pulse(clock, LIMITS)
    clock.advance(int(START_S * 1000))
    assert pulse.sick() == []
    assert pulse.unready() == ["the bundle is not loaded", "the group has assigned nothing yet"]
    clock.advance(1000)
    assert pulse.sick() == ["not started since 601 s"]


def test_a_worker_that_was_told_to_stop_is_unready_at_once(pulse):
    pulse.draining = lambda: True
    assert pulse.unready() == ["it was told to stop"]
    assert pulse.sick() == []
