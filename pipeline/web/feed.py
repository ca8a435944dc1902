"""The last committed alert messages, numbered, so that a browser which was away asks for what came since.

One thread adds, others read: what they read is a tuple that is replaced, never changed, so nobody waits for anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longwatch.pipeline.outputs import Kind

LENGTH = 1000


@dataclass(frozen=True)
class Entry:
    """One committed message: its number since the worker started, its kind and its JSON."""

    number: int
    kind: Kind
    value: bytes


class Feed:
    """The newest `length` messages; older ones are forgotten, and whoever missed them is told how many."""

    def __init__(self, length: int = LENGTH) -> None:
        self._length = length
        self._entries: tuple[Entry, ...] = ()

    def add(self, messages: Sequence[tuple[Kind, bytes]]) -> None:
        """Append messages in order; called by one thread."""
        if not messages:
            return
        first = self.last + 1
        new = tuple(Entry(first + place, kind, value) for place, (kind, value) in enumerate(messages))
        self._entries = (*self._entries, *new)[-self._length :]

    @property
    def last(self) -> int:
        """Number of the newest message; 0 before the first."""
        entries = self._entries
        return entries[-1].number if entries else 0

    def messages_of(self, alert_id: str) -> list[bytes]:
        """The messages of an alert that are not forgotten, oldest first."""
        sought = f'"alert_id":"{alert_id}"'.encode()
        return [each.value for each in self._entries if sought in each.value]

    def after(self, number: int) -> tuple[tuple[Entry, ...], int]:
        """Messages after `number`, and how many of those after it are forgotten already."""
        entries = self._entries
        if not entries or entries[-1].number <= number:
            return (), 0
        missed = max(0, entries[0].number - number - 1)
        return entries[max(0, number + 1 - entries[0].number) :], missed
