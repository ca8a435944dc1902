"""Which records every target has: offsets may be committed up to the first that some target lacks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.message import Letter, Record


@dataclass
class _Entry:
    """A record, the targets that lack it, and the letters it caused; `next_offset` is what follows when it is done."""

    record: Record
    lacking: set[str]
    letters: list[Letter]


@dataclass
class _Log:
    """One partition from the first record that is not committed; `next_offset` is behind all that was read."""

    entries: OrderedDict[int, _Entry] = field(default_factory=OrderedDict)
    next_offset: int = -1
    committed: int = -1


@dataclass(frozen=True)
class Settled:
    """What can be committed now: letters belong to records below the offsets."""

    offsets: Mapping[Partition, int]
    letters: tuple[Letter, ...]


class Ledger:
    """Counts what is pending; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: dict[Partition, _Log] = {}
        self._messages = 0
        self._bytes = 0

    @property
    def messages(self) -> int:
        """Records that some target lacks, or that wait behind one."""
        return self._messages

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return self._bytes

    def add(self, record: Record, targets: Collection[str], letters: Collection[Letter] = ()) -> None:
        """The next record of its partition, and who must get it; none: it is done."""
        with self._lock:
            log = self._logs.setdefault(record.partition, _Log())
            log.entries[record.offset] = _Entry(record, set(targets), list(letters))
            self._messages += 1
            self._bytes += len(record.value)

    def reach(self, partition: Partition, next_offset: int) -> None:
        """All below was added; control records leave gaps between offsets."""
        with self._lock:
            self._logs.setdefault(partition, _Log()).next_offset = next_offset

    def done(self, record: Record, target: str, letter: Letter | None = None) -> None:
        """The target has the record, or the letter says why not; another life's record changes nothing."""
        with self._lock:
            log = self._logs.get(record.partition)
            entry = None if log is None else log.entries.get(record.offset)
            if entry is None or entry.record is not record:
                return
            entry.lacking.discard(target)
            entry.letters.extend([] if letter is None else [letter])

    def settled(self, only: Collection[Partition] | None = None) -> Settled:
        """Offsets that moved since the last commit, of `only` these partitions, and their letters."""
        with self._lock:
            offsets, letters = {}, []
            for partition, log in self._logs.items():
                if only is not None and partition not in only:
                    continue
                ready = _ready(log)
                offset = _offset_behind(log, len(ready))
                if offset > log.committed:
                    offsets[partition] = offset
                    letters += [letter for entry in ready for letter in entry.letters]
            return Settled(offsets, tuple(letters))

    def committed(self, settled: Settled) -> None:
        """What was settled is durable."""
        with self._lock:
            for partition, offset in settled.offsets.items():
                log = self._logs[partition]
                log.committed = offset
                for done in [each for each in log.entries if each < offset]:
                    self._remove(log.entries.pop(done))

    def forget(self, partition: Partition) -> None:
        """Others read it now."""
        with self._lock:
            for entry in self._logs.pop(partition, _Log()).entries.values():
                self._remove(entry)

    def _remove(self, entry: _Entry) -> None:
        self._messages -= 1
        self._bytes -= len(entry.record.value)


def _ready(log: _Log) -> list[_Entry]:
    ready = []
    for entry in log.entries.values():
        if entry.lacking:
            break
        ready.append(entry)
    return ready


def _offset_behind(log: _Log, done: int) -> int:
    if done == len(log.entries):
        return log.next_offset
    first_lacking = next(offset for place, offset in enumerate(log.entries) if place == done)
    return first_lacking if done else log.committed
