"""What systemd is told (`Type=notify`): ready once the group has answered, alive with each round, and nothing else.

The protocol is one datagram (sd_notify(3)); the watchdog is fed by the loop itself, never by a timer.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.outputs import Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.watch import State


def supervisor(clock: Clock, environment: Mapping[str, str] = os.environ) -> Iterator[Supervisor]:
    """The one that waits to be told, if any."""
    address = environment.get("NOTIFY_SOCKET", "")
    if address.startswith(("/", "@")):
        patience_s = int(environment.get("WATCHDOG_USEC") or 0) / 1e6
        yield Supervisor(clock, address, patience_s)


class Supervisor:
    """A Watch that tells systemd."""

    def __init__(self, clock: Clock, address: str, patience_s: float) -> None:
        self._clock = clock
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every_s = patience_s / 4 if patience_s else None
        self._next = 0.0
        self._ready = False

    def scored(self, touched: Sequence[Touched], /) -> None:
        """Nothing."""

    def committed(self, outputs: Sequence[Output], /) -> None:
        """Nothing."""

    def let_go(self, partitions: Collection[Partition], /) -> None:
        """Nothing."""

    def told(self, state: State, /) -> None:
        """A round is over."""
        if state.joined and not self._ready:
            self._ready = True
            self._send("READY=1")
        if self._every_s is not None and self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + self._every_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        """As systemd has it: who does not listen is no error."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
                sending.sendto(message.encode(), self._address)
        except OSError:
            return
