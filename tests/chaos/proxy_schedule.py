"""Faults drawn from a seed, one after the other, and written down as they happen."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from chaos.proxy import Fault, Kind, Proxy

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Step:
    """After `calm_s` without a fault, `fault` for `seconds`; or the broker is stopped or killed, and started again."""

    calm_s: float
    seconds: float
    fault: Fault | None = None
    broker: Literal["", "restart", "kill"] = ""


def draw_fault(kind: Kind, draw: random.Random) -> Fault:
    """A fault of the kind; its measures hurt, and do not by themselves stop a client."""
    delay = draw.uniform(0.05, 0.4)
    return Fault(kind, delay, delay * draw.uniform(0.2, 1.0), draw.choice([4_000.0, 20_000.0, 100_000.0]))


def each_kind_once(seed: int, shortest: float = 0.7, longest: float = 2.0) -> list[Step]:
    """Every kind of fault, in an order that the seed decides."""
    draw = random.Random(seed)
    kinds = draw.sample(KINDS, len(KINDS))
    return [Step(draw.uniform(0.3, 1.0), draw.uniform(shortest, longest), draw_fault(kind, draw)) for kind in kinds]


def draw_schedule(seed: int, minutes: float, restarts: int = 2) -> list[Step]:
    """Faults that fill the minutes; the broker is stopped and killed in turn at even distances among them."""
    draw, steps, length = random.Random(seed), list[Step](), 0.0
    broker = [minutes * 60 * (number + 1) / (restarts + 1) for number in range(restarts)]
    while length < minutes * 60:
        if broker and length >= broker[0]:
            steps.append(Step(0.0, draw.uniform(0.5, 6.0), None, "restart" if len(broker) % 2 else "kill"))
            broker.pop(0)
        else:
            fault = draw_fault(draw.choice(KINDS), draw)
            steps.append(Step(draw.uniform(1.0, 8.0), min(draw.expovariate(1 / 8.0) + 0.5, 40.0), fault))
        length += steps[-1].calm_s + steps[-1].seconds
    return steps


@dataclass
class Nemesis:
    """Plays a schedule against a proxy and its broker; `log` gets a line of JSON for each step, as it begins."""

    proxy: Proxy
    broker: object
    log: Path
    tick: Callable[[], None]
    tick_s: float = 0.2

    def play(self, steps: Sequence[Step]) -> None:
        """All steps in their order, with `tick` called all the while; whatever happens, it ends healed."""
        try:
            for step in steps:
                self._pass(step.calm_s)
                self._write(step)
                self._play(step)
        finally:
            self.proxy.heal()

    def _play(self, step: Step) -> None:
        if step.fault is not None:
            self.proxy.apply(step.fault)
            self._pass(step.seconds)
            self.proxy.heal()
            return
        # From this thread: Linux ends a broker together with the thread that started it.
        (self.broker.kill9 if step.broker == "kill" else self.broker.stop)()  # type: ignore[attr-defined]
        self._pass(step.seconds)
        self.broker.start()  # type: ignore[attr-defined]

    def _pass(self, seconds: float) -> None:
        end, pause = time.monotonic() + seconds, threading.Event()
        while (left := end - time.monotonic()) > 0:
            self.tick()
            pause.wait(min(left, self.tick_s))

    def _write(self, step: Step) -> None:
        with self.log.open("a") as log:
            log.write(json.dumps({"monotonic": round(time.monotonic(), 3), **asdict(step)}) + "\n")
