"""The transaction coordinator: ids, epochs and two-phase outcomes, as in KIP-98 and KIP-447.

`init` under a known id fences the earlier epoch and aborts what it left open. A transaction open longer than its
timeout is aborted and its epoch is bumped, so that its producer is fenced. Offsets of a transaction are pending until
it ends; who asks for them with `require_stable` waits (KIP-447).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from kafka import errors
from kafka.structs import OffsetAndMetadata, TopicPartition

from simulator.log import PartitionLog


@dataclass
class Producer:
    """What the coordinator holds of one transactional id."""

    epoch: int = -1
    timeout_ms: int = 0
    transaction: int | None = None
    since_ms: int = 0
    partitions: set[TopicPartition] = field(default_factory=set)
    offsets: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)


class TransactionCoordinator:
    """All transactional ids of a cluster, and the offsets that groups have committed (one group is enough here)."""

    def __init__(self, now: Callable[[], int], log: Callable[[TopicPartition], PartitionLog]) -> None:
        self._now = now
        self._log = log
        self._numbers = count()
        self.producers: dict[str, Producer] = {}
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self.version = 0

    def init(self, transactional_id: str, timeout_ms: int) -> int:
        """The id's next epoch; what an earlier one left open is aborted first."""
        producer = self.producers.setdefault(transactional_id, Producer())
        self._end(producer, "aborted")
        producer.epoch += 1
        producer.timeout_ms = timeout_ms
        return producer.epoch

    def produce(
        self,
        transactional_id: str,
        epoch: int,
        tp: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> int:
        """Add the partition to the transaction and the record to its log; raises InvalidProducerEpochError."""
        producer = self._open(transactional_id, epoch)
        producer.partitions.add(tp)
        return self._log(tp).append(self._now(), key, value, headers, producer.transaction)

    def add_offsets(self, transactional_id: str, epoch: int, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Offsets that count once the transaction commits; the group has checked its member before."""
        self._open(transactional_id, epoch).offsets.update(offsets)

    def end(self, transactional_id: str, epoch: int, outcome: str) -> None:
        """Commit or abort; raises ProducerFencedError for an earlier epoch."""
        self._end(self._current(transactional_id, epoch), outcome)

    def pending(self, tp: TopicPartition) -> bool:
        """Whether an open transaction holds an offset of this partition."""
        return any(tp in producer.offsets for producer in self.producers.values())

    def expire(self) -> None:
        """Abort what is open longer than its producer said, and fence that producer."""
        for producer in self.producers.values():
            if producer.transaction is not None and self._now() - producer.since_ms >= producer.timeout_ms:
                self._end(producer, "aborted")
                producer.epoch += 1

    def next_expiry(self) -> int | None:
        """When the first open transaction times out."""
        ends = [each.since_ms + each.timeout_ms for each in self.producers.values() if each.transaction is not None]
        return min(ends, default=None)

    def _current(self, transactional_id: str, epoch: int) -> Producer:
        producer = self.producers[transactional_id]
        if producer.epoch != epoch:
            raise errors.ProducerFencedError(f"{transactional_id} epoch {epoch}, now {producer.epoch}")
        return producer

    def _open(self, transactional_id: str, epoch: int) -> Producer:
        producer = self.producers[transactional_id]
        if producer.epoch != epoch:
            raise errors.InvalidProducerEpochError(f"{transactional_id} epoch {epoch}, now {producer.epoch}")
        if producer.transaction is None:
            producer.transaction, producer.since_ms = next(self._numbers), self._now()
        return producer

    def _end(self, producer: Producer, outcome: str) -> None:
        if producer.transaction is None:
            return
        for tp in sorted(producer.partitions):
            self._log(tp).finish(self._now(), producer.transaction, outcome)  # type: ignore[arg-type]
        if outcome == "committed":
            self.committed.update(producer.offsets)
            self.version += 1
        producer.transaction, producer.partitions, producer.offsets = None, set(), {}
