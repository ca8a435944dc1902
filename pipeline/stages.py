"""The stages of a round by name, and who times them: the engine has no clock, so it is told by whoever has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from enum import StrEnum


class Stage(StrEnum):
    """What a worker does with records, in this order; only a commit at a rebalance lies inside a poll."""

    POLL = "poll"
    """Wait for records; of an idle input this is most of the time."""
    DECODE = "decode"
    """Bytes to events."""
    TEMPLATES = "templates"
    """Events to templates."""
    WINDOWS = "windows"
    """Events into the windows of their entities."""
    SCORE = "score"
    """Surprise of the new events: the network."""
    DETECT = "detect"
    """Evidence, calibration, thresholds and alerts."""
    COMMIT = "commit"
    """Outputs and positions made durable, or the attempt."""


Timed = Callable[[Stage], AbstractContextManager[None]]


def untimed(stage: Stage) -> AbstractContextManager[None]:
    """Nobody looks at how long it takes."""
    del stage
    return nullcontext()


def timed_by(watches: Iterable[Timed]) -> Timed:
    """All of them around each stage; without any, `untimed`."""
    several = tuple(watches)
    if len(several) <= 1:
        return several[0] if several else untimed

    @contextmanager
    def timed(stage: Stage) -> Iterator[None]:
        with ExitStack() as opened:
            for each in several:
                opened.enter_context(each(stage))
            yield

    return timed
