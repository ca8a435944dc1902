"""What must be visible: the outputs of a pure replay of each partition, against what a read_committed reader sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import polars as pl

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import RECORD_SCHEMA, Partition, RecordBatch
from longwatch.pipeline.setting import Change
from simulator.cluster import Cluster
from simulator.engine import SETTINGS, light_engine, simulated_config, swapping_engine
from simulator.log import Entry, PartitionLog

OUTPUTS = {"out.alerts": Kind.ALERT, "out.dlq": Kind.DEAD_LETTER, "out.late": Kind.LATE}
Identity = tuple[object, ...]


class ViolationError(AssertionError):
    """An invariant does not hold; `invariant` is its name."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


@dataclass
class Due:
    """One output of the replay; one that a silence caused is due behind the last record, and may come at any time."""

    trigger: int
    payload: bytes
    by_silence: bool


@dataclass
class Replay:
    """The engine over one partition's committed records, as far as they go now."""

    partition: Partition
    swaps: bool = False
    due: dict[Identity, Due] = field(default_factory=dict)
    read: int = 0
    last_ms: int = -1
    changes: list[Change] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._timeout = simulated_config().windows.idle_timeout.ms  # type: ignore[union-attr]
        self._begin()

    def _begin(self) -> None:
        self._engine = swapping_engine(0, self.changes) if self.swaps else light_engine()
        self._engine.assign(self.partition, None, 0)

    def learn(self, changes: list[Change], now_ms: int) -> None:
        """Swaps that were committed: from the start again, by what is recorded now."""
        self.changes = [*self.changes, *changes]
        entries, self.entries, self.due, self.last_ms = self.entries, [], {}, -1
        self._begin()
        self.go_on(entries, now_ms)

    def go_on(self, entries: list[Entry], now_ms: int) -> None:
        """Take further records, and the silences between and behind them."""
        self.entries += entries
        run: list[Entry] = []
        for entry in entries:
            if self.last_ms >= 0 and entry.timestamp - self.last_ms >= self._timeout:
                self._take(run)
                self._silence()
                run = []
            run.append(entry)
            self.last_ms = entry.timestamp
        self._take(run)
        if self.last_ms >= 0 and now_ms - self.last_ms >= self._timeout:
            self._silence()

    def _take(self, run: list[Entry]) -> None:
        if run:
            self._process(run, by_silence=False)
        while self._engine.swaps:
            # All that this gives is due at a commit, before any record: what silence closed, or the bundle that went.
            again, upto = self._engine.swap(self.partition), run[-1].offset if run else -1
            if between := [each for each in self.entries if again <= each.offset <= upto]:
                self._process(between, by_silence=True)
            self._add(self._engine.process([]).outputs, by_silence=True)

    def _process(self, run: list[Entry], *, by_silence: bool) -> None:
        rows = [(each.offset, each.timestamp, each.key, each.value) for each in run]
        frame = pl.DataFrame(rows, schema=RECORD_SCHEMA, orient="row")
        batch = RecordBatch(self.partition, frame, run[-1].offset + 1)
        self._add(self._engine.process([batch]).outputs, by_silence=by_silence)

    def _silence(self) -> None:
        self._add(self._engine.close_idle(self.partition).outputs, by_silence=True)

    def _add(self, outputs: list[Output], *, by_silence: bool) -> None:
        for output in outputs:
            identity = identify(output.kind, output.value, dict(output.headers))[1]
            self.due[identity] = Due(output.trigger_offset, output.value, by_silence)


def identify(kind: Kind, value: bytes, headers: dict[str, bytes]) -> tuple[int, Identity]:
    """The partition an output belongs to, and what may exist only once."""
    if kind is Kind.ALERT:
        alert = msgspec.json.decode(value, type=Alert)
        return alert.source.partition, (kind, alert.alert_id, alert.revision)
    return int(headers["longwatch.partition"]), (kind, int(headers["longwatch.offset"]))


class Oracle:
    """Compares, after every commit, what is visible and what is committed with the replay."""

    def __init__(self, cluster: Cluster, *, swaps: bool = False) -> None:
        self._cluster = cluster
        described = cluster.describe(cluster.topic)
        self.replays = [
            Replay(Partition(cluster.topic, described.topic_id, number), swaps)
            for number in range(described.partitions)
        ]
        self.seen: list[dict[Identity, bytes]] = [{} for _ in self.replays]
        self.truncated: set[int] = set()
        self._read: dict[str, int] = {}
        self._waiting: dict[str, list[Entry]] = {}
        self._reached = [0] * len(self.replays)
        self._version = -1

    def check(self) -> None:
        """The invariants that hold at every moment; nothing to do unless something was committed."""
        if self._version == self._cluster.transactions.version:
            return
        self._version = self._cluster.transactions.version
        self._look()
        for number in range(len(self.replays)):
            self._check(number)

    def difference(self) -> str:
        """What is still missing of the whole replay; empty once live equals it."""
        self._look()
        parts = []
        for number, replay in enumerate(self.replays):
            missing = replay.due.keys() - self.seen[number].keys()
            if number in self.truncated:
                missing = {each for each in missing if self._must_come(number, each)}
            if missing:
                parts.append(f"partition {number} lacks {sorted(missing, key=repr)[:3]}")
        return "; ".join(parts)

    def _must_come(self, number: int, identity: Identity) -> bool:
        """Where retention took records before they were read, only what single records cause is comparable."""
        start = self._cluster.topics[self._cluster.topic][number].start
        return identity[0] is Kind.DEAD_LETTER and self.replays[number].due[identity].trigger >= start

    def _look(self) -> None:
        for number, replay in enumerate(self.replays):
            log = self._cluster.topics[self._cluster.topic][number]
            entries, replay.read = log.fetch(replay.read, log.end, "read_committed")
            replay.go_on(entries, self._cluster.clock.ms)
        self._learn()
        for topic, kind in OUTPUTS.items():
            for log in self._cluster.topics.get(topic, [])[:1]:
                for entry in self._ended(topic, log):
                    self._see(kind, entry)

    def _learn(self) -> None:
        """What was in force where, as far as it is committed."""
        found: dict[int, list[Change]] = {}
        for log in self._cluster.topics.get(SETTINGS, [])[:1]:
            for entry in self._ended(SETTINGS, log):
                change = msgspec.json.decode(entry.value or b"", type=Change)
                found.setdefault(change.partition, []).append(change)
        for number, changes in found.items():
            self.replays[number].learn(changes, self._cluster.clock.ms)

    def _ended(self, topic: str, log: PartitionLog) -> list[Entry]:
        """New records of committed transactions, also behind an open one: no reader can be kept from them for long."""
        waiting = [*self._waiting.get(topic, []), *log.entries[self._read.get(topic, 0) :]]
        self._read[topic] = log.end
        self._waiting[topic] = [each for each in waiting if not each.marker and log.outcome(each) == "open"]
        return [each for each in waiting if not each.marker and log.outcome(each) == "committed"]

    def _see(self, kind: Kind, entry: Entry) -> None:
        value = entry.value or b""
        number, identity = identify(kind, value, dict(entry.headers))
        if number in self.truncated and kind is not Kind.DEAD_LETTER:
            return
        if identity in self.seen[number]:
            raise ViolationError("no output is doubled", f"partition {number}: {identity}")
        due = self.replays[number].due.get(identity)
        if due is None:
            raise ViolationError("every output is one of the replay", f"partition {number}: {identity}")
        if due.payload != value:
            raise ViolationError("an output's payload is the replay's", f"partition {number}: {identity}")
        self.seen[number][identity] = value

    def _check(self, number: int) -> None:
        tp = next((each for each in self._cluster.transactions.committed if each.partition == number), None)
        offset = 0 if tp is None else self._cluster.transactions.committed[tp].offset
        if offset < self._reached[number]:
            raise ViolationError("no committed offset goes back", f"partition {number}: {offset}")
        self._reached[number] = offset
        if number in self.truncated:
            return
        for identity, due in self.replays[number].due.items():
            seen = identity in self.seen[number]
            if due.trigger < offset and not seen:
                raise ViolationError("an offset is committed only with its outputs", f"{number}@{offset}: {identity}")
            if seen and (due.trigger > offset or (due.trigger == offset and not due.by_silence)):
                raise ViolationError("outputs are visible only with their offset", f"{number}@{offset}: {identity}")
