"""A Kafka topic read as a member of a consumer group; offsets are committed by the transaction, not here."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from longwatch.pipeline.errors import BrokerError, FencedError
from longwatch.pipeline.kafka_client import TopicPartition
from longwatch.pipeline.kafka_consumed import ask_for_round, knows_coordinator
from longwatch.pipeline.kafka_port import KAFKA, Port
from longwatch.pipeline.kafka_reader import Reader
from longwatch.pipeline.kafka_rebalance import RebalanceQueue, was_replaced
from longwatch.pipeline.kafka_settings import Committed, KafkaSettings, Truncated, Unreadable
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.records import Partition, RecordBatch

Assigned = Mapping[Partition, Committed | None]
Partitions = tuple[Partition, ...]
log = structlog.get_logger("longwatch.kafka")


class KafkaSource:
    """One group member's partitions of `topic` as record batches.

    All callbacks run inside `poll`, on the caller's thread, before that poll's records are returned.
    `on_assigned` gets what the group has committed, None where nothing; it may `seek`, otherwise reading starts at
    the committed offset, or where `settings.start` says. In `on_revoked` the partitions may still be committed: they
    are handed on after it. In `on_lost` others have them already: drop what is not committed. `on_truncated` and
    `on_unreadable` report records that cannot be had; reading goes on behind them unless the callback raises.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        on_assigned: Callable[[Assigned], None],
        on_revoked: Callable[[Partitions], None],
        on_lost: Callable[[Partitions], None],
        on_truncated: Callable[[Truncated], None],
        on_unreadable: Callable[[Unreadable], None],
        watchdog: Watchdog | None = None,
        port: Port = KAFKA,
    ) -> None:
        self._settings = settings
        self._gone = {"revoked": on_revoked, "lost": on_lost}
        self._on_assigned = on_assigned
        self._paused: set[Partition] = set()
        described, watchdog = port.describe_topic(settings, topic), watchdog or port.watchdog()
        self._reader = Reader(settings, described, on_truncated, on_unreadable, watchdog, group=True, port=port)
        self._consumer = self._reader.consumer
        self._orphans = partial(port.has_orphans, settings, described)
        # Only a static member takes a place over without a round of the group.
        self._looks_for_orphans = settings.instance_id is not None
        self._rebalances = RebalanceQueue(self._consumer)
        self._membership: Any = self._consumer.group_metadata()
        self._consumer.subscribe([topic], listener=self._rebalances)
        try:
            self._reader.learn_topic()
        except BaseException:
            self.close()
            raise

    def poll(self, timeout_ms: int = 200) -> list[RecordBatch]:
        """At most `poll_records` records in batches, one per partition, by partition number.

        Raises a BrokerError that is not retriable or a FatalError; an unreachable broker shows as an empty list.
        """
        self._rebalances.polling = True
        try:
            batches = self._reader.poll(timeout_ms)
        finally:
            self._rebalances.polling = False
        self._tell_rebalances()
        if was_replaced(self._consumer):
            raise FencedError(
                f"another process has joined group {self._settings.group_id} as {self._settings.instance_id}",
                "give every worker an instance id of its own",
            )
        self._free_orphans()
        owned = self.assignment()
        return [batch for batch in batches if batch.partition in owned]

    def assignment(self) -> frozenset[Partition]:
        """The partitions this member reads."""
        return frozenset(self._reader.partition(tp.partition) for tp in self._consumer.assignment())

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this offset next; one outside the log is reported through `on_truncated` by a later poll."""
        self._reader.seek(partition.partition, offset)

    def position(self, partition: Partition) -> int:
        """The offset to read next, behind any control records."""
        return self._reader.position(partition.partition)

    def committed(self, partition: Partition) -> Committed | None:
        """What the group has committed; waits for an open transaction's outcome. None when nothing."""
        tp = TopicPartition(partition.topic, partition.partition)
        found = self._reader.call(
            f"the committed offset of {partition}",
            self._consumer.committed,
            tp,
            metadata=True,
            timeout_ms=self._settings.answer_ms,
        )
        return None if found is None else Committed(int(found.offset), found.metadata or "")

    def log_start(self, partition: Partition) -> int:
        """The first offset the log still holds."""
        return self._reader.bounds(partition.partition)[0]

    def end_offset(self, partition: Partition) -> int:
        """The offset after the last record that a read_committed reader may see now."""
        return self._reader.end(partition.partition)

    def at_end(self, partition: Partition) -> bool:
        """Whether everything committed to the partition so far has been read."""
        return self._reader.at_end(partition.partition)

    def known_ends(self) -> dict[Partition, int]:
        """The end that came with each partition's last fetch; asks no broker."""
        ends = {tp: self._consumer.highwater(tp) for tp in self._consumer.assignment()}
        return {self._reader.partition(tp.partition): int(end) for tp, end in ends.items() if end is not None}

    def answers(self) -> bool:
        """Whether the group's coordinator is known, which it no longer is once a heartbeat had no answer."""
        return knows_coordinator(self._consumer)

    def pause(self, partition: Partition) -> None:
        """Return no records of this partition until `resume`; keep polling meanwhile."""
        self._paused.add(partition)
        self._consumer.pause(TopicPartition(partition.topic, partition.partition))

    def resume(self, partition: Partition) -> None:
        """Undo `pause`; nothing happens when the partition is no longer assigned."""
        self._paused.discard(partition)
        if partition in self.assignment():
            self._consumer.resume(TopicPartition(partition.topic, partition.partition))

    def group_metadata(self) -> Any:
        """This member's identity as of the end of the last poll, for `TransactionalProducer.commit`.

        A rebalance after that poll makes the broker refuse the commit, as it must.
        """
        return self._membership

    def close(self) -> None:
        """Leave the group without committing; a static member keeps its place until its session ends."""
        self._reader.close()

    def _tell_rebalances(self) -> None:
        while True:
            # The snapshot comes first: what happens after it is not yet told, and must not be committed under.
            self._membership = self._consumer.group_metadata()
            if not self._rebalances.events:
                return
            kind, partitions = self._rebalances.events[0]
            self._tell(kind, tuple(self._reader.partition(tp.partition) for tp in partitions))
            self._rebalances.events.popleft()

    def _free_orphans(self) -> None:
        """Once a member: have partitions assigned that an earlier process of its name let go without handing on."""
        if not self._looks_for_orphans or self._membership.generation_id < 0:
            return
        try:
            self._looks_for_orphans = False
            if self._reader.call("the members of the group", self._orphans):
                log.warning("partitions_without_an_owner", action="the group is asked to assign them")
                ask_for_round(self._consumer)
        except BrokerError as error:
            self._looks_for_orphans = error.retriable

    def _tell(self, kind: str, partitions: Partitions) -> None:
        self._paused.difference_update(partitions)
        if kind == "assigned":
            self._start(partitions)
        elif partitions:
            self._gone[kind](partitions)

    def _start(self, partitions: Partitions) -> None:
        owned = self.assignment()
        assigned = {each: self.committed(each) for each in partitions if each in owned}
        for partition, committed in assigned.items():
            self.seek(partition, self._first_offset(partition) if committed is None else committed.offset)
        self._on_assigned(assigned)
        for partition in assigned.keys() - self._paused:
            self._consumer.resume(TopicPartition(partition.topic, partition.partition))

    def _first_offset(self, partition: Partition) -> int:
        start, end = self._reader.bounds(partition.partition)
        return start if self._settings.start == "earliest" else end
