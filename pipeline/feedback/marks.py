"""Marks as they are written and read: a log of what people said, of which any beginning gives the same marks again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

MARK_BYTES = 256 * 1024


class Mark(msgspec.Struct, frozen=True, tag_field="type", tag="mark"):
    """Alerts of this rule and kind that nothing carries but `pattern` are silent for `entities` (globs).

    `until_ms` is event time: an alert whose last event is later than that is raised again.
    """

    mark_id: str
    alert_id: str
    rule: str
    kind: Literal["event", "window"]
    pattern: list[str]
    entities: list[str]
    until_ms: int
    made_ms: int = 0
    templates: list[str] = []
    reason: str = ""
    by: str = ""

    def silences(self, rule: str, kind: str, entities: Sequence[str], pattern: frozenset[str], time_ms: int) -> bool:
        """Whether an alert message falls under it."""
        return (
            (rule, kind) == (self.rule, self.kind)
            and time_ms <= self.until_ms
            and pattern <= frozenset(self.pattern)
            and any(fnmatchcase(name, glob) for name in entities for glob in self.entities)
        )


class Withdrawal(msgspec.Struct, frozen=True, tag_field="type", tag="withdraw"):
    """Takes a mark back."""

    mark_id: str
    made_ms: int = 0
    by: str = ""


Entry = Mark | Withdrawal
_DECODER = msgspec.json.Decoder(Entry)


def decode_entry(value: bytes | None) -> Entry | None:
    """The mark or withdrawal of one record; None where it is neither, which every reader then passes over."""
    if value is None or len(value) > MARK_BYTES:
        return None
    try:
        entry: Entry = _DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if isinstance(entry, Mark) and not (entry.pattern and entry.entities and entry.mark_id):
        return None
    return entry


@dataclass
class _Standing:
    """A mark and the part of the log, [since, until), after which it is in force."""

    mark: Mark
    since: int
    until: int | None = None

    def holds(self, upto: int) -> bool:
        return self.since < upto and (self.until is None or upto <= self.until)


class MarkBook:
    """All that the log holds so far; what is in force is a function of how much of the log has taken effect."""

    def __init__(self) -> None:
        self._standing: list[_Standing] = []
        self.entries: list[tuple[int, Entry, int]] = []
        self.broken = 0
        self.upto = 0

    def add(self, place: int, value: bytes | None, upto: int) -> None:
        """Take the record at `place` of the log; the next one begins at `upto`."""
        self.upto = upto
        entry = decode_entry(value)
        if entry is None:
            self.broken += 1
            return
        # A mark written again replaces the one of its id.
        ended = self._end(entry.mark_id, place)
        if isinstance(entry, Mark):
            self._standing.append(_Standing(entry, place))
        elif not ended:
            return
        self.entries.append((place, entry, upto))

    @property
    def changed_at(self) -> int:
        """Where the part of the log ends that holds every mark and withdrawal so far; 0 where there is none."""
        return self.entries[-1][2] if self.entries else 0

    def in_force(self, upto: int) -> Iterator[Mark]:
        """Marks of the log before `upto` that were not taken back in it."""
        return (each.mark for each in self._standing if each.holds(upto))

    def _end(self, mark_id: str, place: int) -> bool:
        ended = [each for each in self._standing if each.mark.mark_id == mark_id and each.until is None]
        for each in ended:
            each.until = place
        return bool(ended)


def iso(time_ms: int) -> str:
    """RFC 3339 in UTC, to the second; the end of time for what lies past year 9999."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return "for ever"
