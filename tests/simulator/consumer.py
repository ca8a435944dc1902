"""kafka-python's consumer as the product uses it, on the simulated cluster.

The join is a coroutine that `poll` drives, through the very attributes that `RebalanceQueue` wraps, so that what the
product does there is run, too. Heartbeats come from the cluster's clock, as they come from the client's I/O thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from kafka import errors
from kafka.structs import OffsetAndMetadata, TopicPartition

from simulator.cluster import Cluster, topic_id
from simulator.log import Entry

if TYPE_CHECKING:
    from simulator.process import Fate


class Record(NamedTuple):
    """The columns of a consumer record that the product reads."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class GroupMetadata(NamedTuple):
    """A member's identity, as `send_offsets_to_transaction` takes it."""

    group_id: str | None
    generation_id: int
    member_id: str
    group_instance_id: str | None
    state: str


class _Pause:
    """Awaited once per poll by whatever waits for the coordinator."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Manager:
    """The client's event loop, as far as a join needs it: each poll gives it one turn."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def call_soon(self, function: Callable[[], Any]) -> Any:
        return function()

    async def wait_for(self, join: Any, timeout_ms: float) -> Any:
        ends = self._cluster.clock.ms + timeout_ms
        while True:
            try:
                join.send(None)
            except StopIteration as done:
                return done.value
            if self._cluster.clock.ms >= ends:
                join.close()
                raise errors.KafkaTimeoutError
            await _Pause()

    def close(self, node_id: object) -> None:
        """The connection; the next request makes another."""


class Coordinator:
    """The client's side of the group: identity, state, and the attempt to join that is under way."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.generation = -1
        self.member_id = ""
        self.coordinator_id = 0
        self.state = "<unjoined>"
        self.rejoin_needed = True
        self.rejoining = False
        self._heartbeat_enabled = False
        self._attempt: Any = None

    def need_rejoin(self) -> bool:
        return self.rejoin_needed

    def request_rejoin(self) -> None:
        self.rejoin_needed = True

    def stable(self) -> bool:
        return self.state == "<stable>"

    def reset(self, member_id: str = "") -> None:
        """Out of the group: partitions are lost at the next poll."""
        self.generation, self.member_id = -1, member_id
        self.state, self.rejoin_needed = "<unjoined>", True

    async def _do_join_and_sync_async(self) -> frozenset[int]:
        consumer, group = self._consumer, self._consumer.cluster.group
        self.state = "<rebalancing>"
        await self._connected()
        try:
            self.member_id = group.join(self.member_id, consumer.instance_id, consumer.owned())
            while (answer := group.answer(self.member_id, consumer.instance_id)) is None:
                await _Pause()
        except errors.UnknownMemberIdError:
            self.reset()
            raise
        self.generation = answer.generation
        return answer.assignment

    async def _connected(self) -> None:
        """A refused join is one on a connection that is dead and does not show it."""
        try:
            self._consumer._fate.meet("join")
        except errors.KafkaTimeoutError:
            while True:
                await _Pause()

    def drive(self) -> None:
        """As far as the join gets in one poll; `need_rejoin` and the join itself may have been wrapped."""
        while self.need_rejoin():
            if self._attempt is None:
                self._prepare()
                self._attempt = self._do_join_and_sync_async()
            try:
                self._attempt.send(None)
                return
            except StopIteration as done:
                self._attempt = None
                self._joined(done.value)
            except errors.UnknownMemberIdError:
                self._attempt = None
            except errors.KafkaTimeoutError:
                self._attempt = None
                return

    def _prepare(self) -> None:
        if self.generation == -1 and self._consumer.positions:
            self._consumer.forget(set(self._consumer.positions), "on_partitions_lost")
        self.rejoining, self._heartbeat_enabled = True, False

    def _joined(self, assignment: frozenset[int]) -> None:
        self.rejoining, self.rejoin_needed, self.state = False, False, "<stable>"
        self._heartbeat_enabled = True
        self._consumer.take(assignment)

    def heartbeat(self) -> None:
        """One heartbeat, and what its answer changes."""
        if not self._heartbeat_enabled:
            return
        try:
            self._consumer.cluster.group.heartbeat(self.member_id, self._consumer.instance_id, self.generation)
        except errors.RebalanceInProgressError:
            self.rejoin_needed = True
        except errors.IllegalGenerationError:
            self.reset(self.member_id)
        except errors.FencedInstanceIdError:
            self._heartbeat_enabled = False
        except errors.UnknownMemberIdError:
            self.reset()


class Consumer:
    """A member of the group, or with `assign` a reader of its own."""

    def __init__(self, cluster: Cluster, fate: Fate, options: dict[str, Any]) -> None:
        self.cluster = cluster
        self._fate = fate
        self._options = self.config = options
        self.instance_id: str | None = options["group_instance_id"]
        self.positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._listener: Any = None
        self._closed = False
        self._last_poll = cluster.clock.ms
        self._coordinator = Coordinator(self)
        self._manager = Manager(cluster)
        self._net = SimpleNamespace(sleep=lambda _seconds: _Pause())
        self._cluster = SimpleNamespace(topic_id=topic_id)
        cluster.ticking[id(self)] = self._tick

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self._listener = listener

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(len(self.cluster.topics[topic])))

    def assignment(self) -> set[TopicPartition]:
        return set(self.positions)

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def poll(self, timeout_ms: int = 0, max_records: int | None = None) -> dict[TopicPartition, list[Record]]:
        self._fate.meet("poll")
        self._last_poll = self.cluster.clock.ms
        self._coordinator.drive()
        left = max_records or self._options["max_poll_records"]
        found: dict[TopicPartition, list[Record]] = {}
        for tp in sorted(self.positions.keys() - self._paused):
            try:
                entries = self._fetch(tp, left) if left else []
            except errors.OffsetOutOfRangeError:
                # What was drained already is given first, and the error at the next poll, as kafka-python does.
                if not found:
                    raise
                break
            if entries:
                found[tp] = [Record(each.offset, each.timestamp, each.key, each.value) for each in entries]
                left -= len(entries)
        self._fate.meet("polled")
        # The I/O thread may heartbeat at any time; before the caller looks at the membership is the worst of them.
        self._coordinator.heartbeat()
        return found

    def position(self, tp: TopicPartition, timeout_ms: float) -> int:
        return self.positions[tp]

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.positions[tp] = offset

    def pause(self, tp: TopicPartition) -> None:
        self._paused.add(tp)

    def resume(self, tp: TopicPartition) -> None:
        self._paused.discard(tp)

    def beginning_offsets(self, tps: list[TopicPartition], timeout_ms: float) -> dict[TopicPartition, int]:
        self._fate.meet("ask")
        return {tp: self.cluster.log(tp).start for tp in tps}

    def end_offsets(self, tps: list[TopicPartition], timeout_ms: float) -> dict[TopicPartition, int]:
        return {tp: self.cluster.log(tp).bound(self._options["isolation_level"]) for tp in tps}

    def committed(self, tp: TopicPartition, metadata: bool, timeout_ms: float) -> OffsetAndMetadata | None:
        """Waits, in virtual time, for an open transaction that holds this offset (`require_stable`, KIP-447)."""
        self._fate.meet("ask")
        deadline = self.cluster.clock.ms + timeout_ms
        while self._options["isolation_level"] == "read_committed" and self.cluster.transactions.pending(tp):
            if self.cluster.clock.ms >= deadline:
                raise errors.KafkaTimeoutError
            self.cluster.advance(500)
        return self.cluster.transactions.committed.get(tp)

    def group_metadata(self) -> GroupMetadata:
        own = self._coordinator
        return GroupMetadata(self._options["group_id"], own.generation, own.member_id, self.instance_id, own.state)

    def close(self, autocommit: bool = False, timeout_ms: float = 0) -> None:
        """Leave the group, unless the member is static (KIP-345)."""
        self._closed = True
        self.cluster.ticking.pop(id(self), None)
        if self._fate.alive and self.instance_id is None:
            self.cluster.group.leave(self._coordinator.member_id)

    @property
    def is_member(self) -> bool:
        return self._coordinator.stable() and not self._coordinator.rejoining

    def owned(self) -> frozenset[int]:
        return frozenset(tp.partition for tp in self.positions)

    def forget(self, tps: set[TopicPartition], told: str) -> None:
        for tp in tps:
            del self.positions[tp]
        self._paused -= tps
        getattr(self._listener, told)(tps)

    def take(self, assignment: Iterable[int]) -> None:
        """The cooperative protocol: give up what is not ours any more and join again for it, keep the rest."""
        new = {TopicPartition(self.cluster.topic, partition) for partition in assignment}
        if gone := self.positions.keys() - new:
            self._coordinator.rejoin_needed = True
            self.forget(set(gone), "on_partitions_revoked")
        added = new - self.positions.keys()
        self.positions |= dict.fromkeys(added, 0)
        self._listener.on_partitions_assigned(added)

    def _fetch(self, tp: TopicPartition, limit: int) -> list[Entry]:
        log, offset = self.cluster.log(tp), self.positions[tp]
        if not log.start <= offset <= log.end:
            raise errors.OffsetOutOfRangeError({tp: offset})
        entries, self.positions[tp] = log.fetch(offset, limit, self._options["isolation_level"])
        return entries

    def _tick(self) -> None:
        if not self._fate.alive:
            self.cluster.ticking.pop(id(self), None)
        elif self._fate.stopped:
            return
        elif self.cluster.clock.ms - self._last_poll < self._options["max_poll_interval_ms"]:
            self._coordinator.heartbeat()
        elif self.instance_id is None and self._coordinator.generation >= 0:
            self.cluster.group.leave(self._coordinator.member_id)
            self._coordinator.reset()
