"""A seeded generator of what happens next, for many steps; a run's seed repeats it exactly."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulator.oracle import ViolationError
from simulator.world import ADVANCES_MS, ARRIVES, AWAY, DELAYS_MS, ENTITIES, PARTITIONS, POINTS, REFUSED, SLOTS, World

STEPS_PER_RUN = 60
Draw = Callable[[random.Random], tuple[Any, ...]]


def _slot(draw: random.Random) -> tuple[int]:
    return (draw.randrange(SLOTS),)


def _partition(draw: random.Random) -> tuple[int]:
    return (draw.randrange(PARTITIONS),)


RULES: dict[str, tuple[int, Draw]] = {
    "produce": (
        26,
        lambda draw: (
            draw.randrange(PARTITIONS),
            draw.randrange(len(ENTITIES)),
            draw.randrange(8),
            draw.choice(DELAYS_MS),
        ),
    ),
    "produce_bad": (3, _partition),
    "produce_again": (2, _partition),
    "produce_in_transaction": (
        3,
        lambda draw: (draw.randrange(PARTITIONS), draw.choice(("committed", "aborted", "aborted", "open"))),
    ),
    "poll": (16, lambda draw: (draw.randrange(SLOTS), draw.choice((1, 1, 1, 2)))),
    "commit_due": (12, _slot),
    "kill": (2, _slot),
    "drain": (2, _slot),
    "stop": (2, _slot),
    "resume": (3, _slot),
    "replace": (2, _slot),
    "wake": (3, lambda draw: (draw.choice((1, 2, 4)),)),
    "lose": (1, _slot),
    "rebalance": (2, _slot),
    "die_at": (4, lambda draw: (draw.randrange(SLOTS), draw.choice(POINTS))),
    "stall_at": (
        5,
        lambda draw: (draw.randrange(SLOTS), draw.choice(POINTS), draw.choice(ADVANCES_MS), draw.choice((1, 3, 6))),
    ),
    "fence_at": (2, lambda draw: (draw.randrange(SLOTS), draw.choice(POINTS))),
    "refuse": (3, lambda draw: (draw.randrange(SLOTS), draw.choice(REFUSED))),
    "go_away": (3, lambda draw: (draw.randrange(SLOTS), draw.choice(AWAY))),
    "lose_reply": (3, lambda draw: (draw.randrange(SLOTS), draw.choice(ARRIVES))),
    "advance": (8, lambda draw: (draw.choice(ADVANCES_MS),)),
    "silence": (1, lambda _draw: ()),
    "retain": (2, _partition),
    "overrun": (1, _partition),
}
NAMES, WEIGHTS = list(RULES), [weight for weight, _ in RULES.values()]


@dataclass
class Violation:
    """What broke, in which run, after how many of its steps."""

    seed: int
    length: int
    step: int
    invariant: str
    detail: str
    steps: list[tuple[str, tuple[Any, ...]]]
    swaps: bool = False

    @property
    def command(self) -> str:
        """What repeats it."""
        swaps = " --swaps" if self.swaps else ""
        return f"python -m tests.simulator --run {self.seed} --length {self.length}{swaps}"


def play(world: World, name: str, arguments: tuple[Any, ...]) -> None:
    """One step: an event, and the invariants after it."""
    world.steps += 1
    world.counts[name] += 1
    getattr(world, name)(*arguments)
    world.oracle.check()


SWAPS = 0.1
"""Of the steps of a run in which bundles are swapped, so many are drawn anew as swaps."""


def run(seed: int, steps: int = STEPS_PER_RUN, *, swaps: bool = False) -> tuple[World, Violation | None]:
    """One world, from its seed alone."""
    draw, swapped = random.Random(seed), random.Random(f"swaps {seed}")
    world = World(static=draw.random() < 0.5, swaps=swaps)
    rules = [name for name in draw.choices(NAMES, WEIGHTS, k=steps) if name != "overrun" or draw.random() < 0.3]
    done: list[tuple[str, tuple[Any, ...]]] = []
    try:
        for name in rules:
            if swaps and swapped.random() < SWAPS:
                done.append(("swap", (swapped.randrange(SLOTS), swapped.randrange(2))))
                play(world, *done[-1])
            done.append((name, RULES[name][1](draw)))
            play(world, *done[-1])
        world.settle()
    except ViolationError as error:
        return world, Violation(seed, steps, len(done), error.invariant, str(error), done, swaps)
    return world, None
