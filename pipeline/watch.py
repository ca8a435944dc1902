"""What a worker tells whoever looks on, such as the live page: on its own thread, between two steps of its loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.outputs import Output
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.records import Partition


@dataclass(frozen=True)
class State:
    """How a worker stands; what is a function is for the worker's own thread.

    `lag` gives records not yet read by partition, `watermarks` event times that none older is awaited of, `replay`
    how many records a restart would read again. `joined` says whether it was told which partitions are its own, if
    any; `waiting_since` since when something is not committed.
    """

    progress: Progress
    open_windows: int
    pending: int
    behind: bool
    lag: Callable[[], Mapping[Partition, int]]
    watermarks: Callable[[], Mapping[Partition, int]]
    replay: Callable[[], Mapping[Partition, int]]
    answers: Callable[[], bool]
    joined: bool
    waiting_since: float | None


class Watch(Protocol):
    """Must return at once and raise nothing: the worker waits for it."""

    def scored(self, touched: Sequence[Touched], /) -> None:
        """Windows were scored; they go on changing once this returns."""
        ...

    def committed(self, outputs: Sequence[Output], /) -> None:
        """These outputs are committed."""
        ...

    def let_go(self, partitions: Collection[Partition], /) -> None:
        """What was scored of these since the last commit is dropped, and perhaps done again."""
        ...

    def told(self, state: State, /) -> None:
        """A round is over."""
        ...


class Watches:
    """Several, told one after the other; none of them is nobody looking."""

    def __init__(self, watches: Iterable[Watch] = ()) -> None:
        self._watches = tuple(watches)

    def scored(self, touched: Sequence[Touched], /) -> None:
        """Tell all."""
        for watch in self._watches:
            watch.scored(touched)

    def committed(self, outputs: Sequence[Output], /) -> None:
        """Tell all."""
        for watch in self._watches:
            watch.committed(outputs)

    def let_go(self, partitions: Collection[Partition], /) -> None:
        """Tell all."""
        for watch in self._watches:
            watch.let_go(partitions)

    def told(self, state: State, /) -> None:
        """Tell all."""
        for watch in self._watches:
            watch.told(state)


UNWATCHED = Watches()
