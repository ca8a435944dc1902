"""What a relay tells whoever looks on: its loop between two rounds, its targets' threads after each try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.message import Letter


@dataclass(frozen=True)
class RelayState:
    """How a relay stands; what is a function is for the relay's own thread."""

    read: int
    commits: int
    aborted: int
    messages: int
    bytes: int
    paused: bool
    joined: bool
    waiting_since: float | None
    answers: Callable[[], bool]
    lag: Callable[[], Mapping[Partition, int]]
    waiting: Callable[[], Mapping[str, int]]


class RelayWatch(Protocol):
    """Must return at once and raise nothing."""

    def tried(self, target: str, outcome: str, seconds: float, /) -> None:
        """A try at a target ended: `delivered`, `failed` or `refused`; told on that target's thread."""
        ...

    def committed(self, letters: tuple[Letter, ...], /) -> None:
        """These letters are durable, with the offsets behind them."""
        ...

    def told(self, state: RelayState, /) -> None:
        """A round is over."""
        ...


class NobodyWatches:
    """The RelayWatch where there is none."""

    def tried(self, target: str, outcome: str, seconds: float, /) -> None:
        """Nobody looks."""

    def committed(self, letters: tuple[Letter, ...], /) -> None:
        """Nobody looks."""

    def told(self, state: RelayState, /) -> None:
        """Nobody looks."""


UNWATCHED_RELAY = NobodyWatches()
