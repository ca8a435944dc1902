"""One partition's log: records and transaction markers share its offsets (KIP-98)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Entry:
    """A record, or the marker that ends a transaction in this partition; `transaction` is None for plain records."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    transaction: int | None = None
    marker: bool = False


Outcome = Literal["open", "committed", "aborted"]


@dataclass
class PartitionLog:
    """Offsets never repeat; `start` is where retention has left it, the last stable offset where transactions have."""

    entries: list[Entry] = field(default_factory=list)
    start: int = 0
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    first_offsets: dict[int, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The high watermark: the offset after the last entry."""
        return len(self.entries)

    @property
    def last_stable(self) -> int:
        """The first offset of the earliest open transaction, else the end: read_committed readers stop here."""
        return min(self.first_offsets.values(), default=self.end)

    def append(
        self,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
        transaction: int | None = None,
    ) -> int:
        """Add a record under the broker's own time (`LogAppendTime`); gives its offset."""
        offset = self.end
        self.entries.append(Entry(offset, timestamp, key, value, headers, transaction))
        if transaction is not None and transaction not in self.outcomes:
            self.outcomes[transaction] = "open"
            self.first_offsets[transaction] = offset
        return offset

    def finish(self, timestamp: int, transaction: int, outcome: Outcome) -> None:
        """Write the transaction's marker, which takes an offset of its own."""
        self.outcomes[transaction] = outcome
        self.first_offsets.pop(transaction, None)
        self.entries.append(Entry(self.end, timestamp, None, None, (), transaction, marker=True))

    def visible(self, entry: Entry, isolation_level: str) -> bool:
        """Whether a reader is given this entry; markers never are."""
        if entry.marker:
            return False
        return isolation_level == "read_uncommitted" or self.outcome(entry) == "committed"

    def outcome(self, entry: Entry) -> Outcome:
        """What became of the entry's transaction; a plain record is committed."""
        return "committed" if entry.transaction is None else self.outcomes[entry.transaction]

    def bound(self, isolation_level: str) -> int:
        """Where a reader's view of the log ends."""
        return self.last_stable if isolation_level == "read_committed" else self.end

    def fetch(self, offset: int, limit: int, isolation_level: str) -> tuple[list[Entry], int]:
        """At most `limit` visible records from `offset`, and the offset to read next, behind what was passed over."""
        found: list[Entry] = []
        bound = self.bound(isolation_level)
        while offset < bound and len(found) < limit:
            entry = self.entries[offset]
            offset += 1
            if self.visible(entry, isolation_level):
                found.append(entry)
        while offset < bound and not self.visible(self.entries[offset], isolation_level):
            offset += 1
        return found, offset

    def committed(self, offset: int = 0) -> list[Entry]:
        """Every record that a read_committed reader may see from `offset`, retention aside."""
        return self.fetch(offset, self.end, "read_committed")[0]
