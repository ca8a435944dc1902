"""How long a worker waits before it tries again what failed: counted in polls, each of which keeps it in its group."""

from __future__ import annotations

MOST_POLLS = 24
"""Polls without records take 200 ms each: a sink that is back is seen within 5 s."""


class Patience:
    """One poll after the first failure, twice as many after each further one in a row."""

    def __init__(self) -> None:
        self._next = 1
        self._left = 0

    def failed(self) -> None:
        """Once more."""
        self._left, self._next = self._next, min(MOST_POLLS, 2 * self._next)

    def polled(self) -> bool:
        """One poll went by; whether it was the last to wait for."""
        self._left -= 1
        return self._left <= 0

    def worked(self) -> None:
        """What failed was done."""
        self._next = 1
