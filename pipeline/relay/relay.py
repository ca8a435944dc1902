"""The loop: read alerts, hand them to every target, commit behind what all of them have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from longwatch.pipeline.clock import Clock
from longwatch.pipeline.kafka_errors import CommitAbortedError
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.relay.deliverer import Deliverer
from longwatch.pipeline.relay.ledger import Ledger, Settled
from longwatch.pipeline.relay.message import Letter, Message, Record, read_message
from longwatch.pipeline.relay.watch import UNWATCHED_RELAY, RelayState, RelayWatch

log = structlog.get_logger("longwatch.relay")


class Source(Protocol):
    """What the relay asks of a consumer group's member."""

    def poll(self, timeout_ms: int = ...) -> list[RecordBatch]:
        """Next records; empty after at most so long without any."""
        ...

    def assignment(self) -> frozenset[Partition]:
        """Partitions that are read."""
        ...

    def known_ends(self) -> Mapping[Partition, int]:
        """The offset behind each partition's last record, as far as that is known."""
        ...

    def answers(self) -> bool:
        """Whether the group's coordinator does."""
        ...

    def pause(self, partition: Partition) -> None:
        """Return none of its records until `resume`."""
        ...

    def resume(self, partition: Partition) -> None:
        """Undo `pause`."""
        ...


@dataclass(frozen=True)
class RelaySettings:
    """Reading stops at `max_messages` or `max_bytes` pending; a stop or a revoke waits `drain_s` for deliveries."""

    max_messages: int
    max_bytes: int
    commit_interval_s: float = 0.5
    drain_s: float = 3.0


@dataclass
class Counts:
    """What a run did."""

    read: int = 0
    dead_letters: int = 0
    commits: int = 0
    aborted: int = 0


class Relay:
    """Nothing is committed that some target lacks and that is no dead letter; `commit` makes both durable at once."""

    def __init__(
        self,
        source: Source,
        ledger: Ledger,
        targets: Iterable[tuple[Deliverer, frozenset[str]]],
        commit: Callable[[Settled], None],
        clock: Clock,
        settings: RelaySettings,
        watch: RelayWatch = UNWATCHED_RELAY,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._targets = list(targets)
        self._commit_settled = commit
        self._clock = clock
        self._settings = settings
        self._paused: set[Partition] = set()
        self._watch = watch
        self._joined = False
        self._waiting_since: float | None = None
        self._read_to: dict[Partition, int] = {}
        self._next_commit = 0.0
        self.counts = Counts()

    def run(self, stop: threading.Event, at_end: Callable[[], bool] = lambda: False) -> Counts:
        """Until `stop` is set, or until `at_end` says that all is read and no target lacks anything."""
        try:
            while not stop.is_set():
                for batch in self._source.poll(200):
                    self._take(batch)
                self._throttle()
                self._commit_when_due()
                self._watch.told(self._state())
                if self._ledger.messages == 0 and at_end():
                    break
        finally:
            for deliverer, _ in self._targets:
                deliverer.stop()
        self._drain()
        return self.counts

    def assigned(self) -> None:
        """The group has said which partitions are this relay's, if any."""
        self._joined = True

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Others read them next: commit what every target has, and forget the rest, which they deliver again."""
        deadline = self._clock.monotonic() + self._settings.drain_s
        for partition in partitions:
            for deliverer, _ in self._targets:
                deliverer.forget(partition, deadline - self._clock.monotonic())
        self._commit(self._ledger.settled(partitions))
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Others read them already: forget."""
        for partition in partitions:
            for deliverer, _ in self._targets:
                deliverer.forget(partition, 0.0)
            self._ledger.forget(partition)
            self._read_to.pop(partition, None)
        self._paused.difference_update(partitions)

    def unreadable(self, partition: Partition, first: int, next_offset: int, why: str) -> None:
        """Records that no client can read are one dead letter, without their bytes."""
        record = Record(partition, first, None, b"")
        self._ledger.add(record, (), [Letter(record, "", "unreadable_records", f"up to offset {next_offset}: {why}")])
        self._ledger.reach(partition, next_offset)

    def _take(self, batch: RecordBatch) -> None:
        for offset, key, value in batch.frame.select("offset", "key", "value").iter_rows():
            self._offer(Record(batch.partition, offset, key, value or b""))
            self.counts.read += 1
        self._read_to[batch.partition] = batch.next_offset
        self._ledger.reach(batch.partition, batch.next_offset)

    def _offer(self, record: Record) -> None:
        found = read_message(record)
        if isinstance(found, Letter):
            log.error("not_an_alert", record=record.position, reason=found.reason, why=found.detail)
            self._ledger.add(record, (), [found])
            return
        wanted = [deliverer for deliverer, lifecycle in self._targets if found.alert.lifecycle in lifecycle]
        self._ledger.add(record, {deliverer.name for deliverer in wanted})
        self._hand_out(found, wanted)

    def _hand_out(self, message: Message, wanted: Iterable[Deliverer]) -> None:
        for deliverer in wanted:
            deliverer.offer(message)

    def _throttle(self) -> None:
        """Stop reading when a target is too far behind, go on when half of that is done; polls keep the membership."""
        share = max(self._ledger.messages / self._settings.max_messages, self._ledger.bytes / self._settings.max_bytes)
        if share >= 1:
            for partition in self._source.assignment() - self._paused:
                self._source.pause(partition)
                self._paused.add(partition)
        elif share <= 0.5 and self._paused:
            for partition in self._source.assignment() & self._paused:
                self._source.resume(partition)
            self._paused.clear()

    def _commit_when_due(self) -> None:
        if self._clock.monotonic() >= self._next_commit:
            self._commit(self._ledger.settled())
            self._next_commit = self._clock.monotonic() + self._settings.commit_interval_s

    def _commit(self, settled: Settled) -> None:
        if not settled.offsets:
            return
        try:
            self._commit_settled(settled)
        except CommitAbortedError as error:
            # Nothing of it happened, and nothing is forgotten: the next commit holds it again.
            log.warning("commit_aborted", why=error.message)
            self.counts.aborted += 1
            self._waiting_since = self._waiting_since or self._clock.monotonic()
            return
        self._ledger.committed(settled)
        self._waiting_since = None
        self._watch.committed(settled.letters)
        self.counts.commits += 1
        self.counts.dead_letters += len(settled.letters)

    def _state(self) -> RelayState:
        counts, source = self.counts, self._source
        return RelayState(
            counts.read,
            counts.commits,
            counts.aborted,
            self._ledger.messages,
            self._ledger.bytes,
            bool(self._paused),
            self._joined,
            self._waiting_since,
            lambda: source.answers(),
            self._lag,
            lambda: {deliverer.name: deliverer.waiting for deliverer, _ in self._targets},
        )

    def _lag(self) -> dict[Partition, int]:
        ends = self._source.known_ends()
        return {each: max(0, ends[each] - at) for each, at in self._read_to.items() if each in ends}

    def _drain(self) -> None:
        deadline = self._clock.monotonic() + self._settings.drain_s
        idle = [deliverer.wait_idle(deadline - self._clock.monotonic()) for deliverer, _ in self._targets]
        if not all(idle):
            log.warning("stopped_amid_deliveries", hint="the next start delivers them again, under the same keys")
        self._commit(self._ledger.settled())
