"""The budget holds while the stream moves, and an attack does not teach the threshold to look away."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from longwatch.model.recalibrate import MOST_ENTITIES, UNIT, Pace, Recalibration

DAYS, A_DAY, BUDGET = 30, 400, 4
SHARE = BUDGET / A_DAY
CALIBRATED = -np.log10(SHARE)
ENTITIES = [f"host-{number}" for number in range(25)]
PACE = Pace(SHARE)


def entities(draw: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Whose each window is: some are three times as busy as others."""
    rates = np.linspace(3, 1, len(ENTITIES))
    return draw.choice(len(ENTITIES), count, p=rates / rates.sum())


def replay(
    owner: NDArray[np.int64], levels: NDArray[np.float64], pace: Pace | None, state: Recalibration | None = None
) -> tuple[NDArray[np.bool_], Recalibration]:
    """Which windows alarm; without a pace the threshold stays as calibrated."""
    state, alarmed = state or Recalibration(), np.zeros(len(owner), dtype=np.bool_)
    for at, (number, level) in enumerate(zip(owner.tolist(), levels.tolist(), strict=True)):
        entity = ENTITIES[number]
        excess = level - CALIBRATED - (state.level(entity) if pace else 0)
        alarmed[at] = excess >= 0
        if pace:
            state = state.closed(entity, excess if excess >= 0 else None, pace)
    return alarmed, state


def drifting(draw: np.random.Generator, owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """Levels 1.6 to 4 times as often high as they were in calibration, another factor for each entity."""
    factor = np.log10(np.linspace(1.6, 4, len(ENTITIES)))
    return draw.exponential(1 / np.log(10), len(owner)) + factor[owner]


def outside(alarmed: NDArray[np.bool_], owner: NDArray[np.int64], level: float) -> Iterator[str]:
    """Of everything, and of the 20 busiest together, those whose alarms are no binomial draw of the budget."""
    parts: list[tuple[str, NDArray[np.bool_]]] = [("all", np.ones(len(owner), dtype=np.bool_))]
    parts += [(ENTITIES[number], owner == number) for number in np.argsort(-np.bincount(owner), kind="stable")[:20]]
    for name, own in parts:
        each = level if name == "all" else 1 - (1 - level) / 20
        low, high = binom.interval(each, int(own.sum()), SHARE)
        if not low <= alarmed[own].sum() <= high:
            yield f"{name}: {alarmed[own].sum()} of {own.sum()} windows, {low:.0f} to {high:.0f} expected"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stream", [drifting, lambda draw, owner: draw.exponential(1 / np.log(10), len(owner))])
def test_alarms_a_day_are_a_binomial_draw_of_the_budget_cold_start_included(seed, stream: Callable):
    draw = np.random.default_rng(seed)
    owner = entities(draw, DAYS * A_DAY)
    alarmed, _ = replay(owner, stream(draw, owner), PACE)
    assert list(outside(alarmed, owner, 0.95)) == [], f"seed {seed}"


def test_without_it_the_same_stream_breaks_the_budget():
    draw = np.random.default_rng(0)
    owner = entities(draw, DAYS * A_DAY)
    alarmed, _ = replay(owner, drifting(draw, owner), None)
    assert alarmed.sum() > 1.6 * DAYS * BUDGET


def test_alarms_far_above_the_threshold_teach_nothing():
    quiet = attacked = Recalibration()
    for _ in range(50):
        quiet = quiet.closed("host-1", None, PACE)
        attacked = attacked.closed("host-1", 1.5, PACE)
    assert (attacked.shift, attacked.level("host-1")) == (quiet.shift, quiet.level("host-1"))


def test_no_alarm_lifts_the_threshold_further_than_a_step_above_its_own_score():
    """A host that scores the same for a thousand windows, less than half a level above the threshold."""
    state = Recalibration()
    for _ in range(1000):
        excess = 0.4 - state.level("host-1")
        state = state.closed("host-1", excess if excess >= 0 else None, PACE)
    assert state.level("host-1") < 0.4 + PACE.rise / UNIT + PACE.own_highest
    assert state.level("host-2") < 0.4 + PACE.rise / UNIT


@pytest.mark.parametrize("seed", range(3))
def test_a_week_of_slow_poisoning_leaves_nine_tenths_of_recall(seed):
    """An attack of each strength, up to five levels, comes to one host once a day; is it caught in the end?"""
    draw = np.random.default_rng(seed)
    strengths = np.linspace(0, 5, 40) + 1e-9
    caught = 0
    for strength in strengths.tolist():
        owner, levels = poisoned(draw, CALIBRATED + strength)
        _, state = replay(owner, levels, PACE)
        caught += strength >= state.level(ENTITIES[-1])
    assert caught >= 0.9 * len(strengths), f"seed {seed}: {caught} of {len(strengths)}"


def poisoned(draw: np.random.Generator, attack: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A week of normal windows, and the attack among them."""
    owner = np.concatenate([entities(draw, 7 * A_DAY), np.full(7, len(ENTITIES) - 1)])
    levels = np.concatenate([draw.exponential(1 / np.log(10), 7 * A_DAY), np.full(7, attack)])
    order = draw.permutation(len(owner))
    return owner[order], levels[order]


def test_thresholds_stay_between_their_bounds_and_remember_a_bounded_number_of_entities():
    state = Recalibration()
    for number in range(2000):  # each alarms once
        state = state.closed(f"other-{number}", 0.0, PACE)
    assert state.level("nobody") == PACE.highest
    assert state.level("other-0") == PACE.highest + PACE.own_highest
    assert len(state.own) == MOST_ENTITIES
    for _ in range(5000):
        state = state.closed("nobody", None, Pace(0.5))
    assert state.level("nobody") == PACE.lowest
