"""kafka-python's transactional producer as the product uses it, on the simulated cluster; faults are met here.

The product's `Transactions` works on the attributes that it finds in kafka-python, and has the client's bug to put
right: offsets that a broker refused stay, and travel with the next ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kafka import errors
from kafka.structs import OffsetAndMetadata, TopicPartition

from simulator.cluster import Cluster

if TYPE_CHECKING:
    from simulator.consumer import GroupMetadata
    from simulator.process import Fate


@dataclass
class Sent:
    """The future of one record."""

    tp: TopicPartition
    message: tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]
    error: Exception | None = None

    def get(self, timeout: float | None = None) -> None:
        if self.error is not None:
            raise self.error


class Answer:
    """The result of one request of a transaction; one without an answer costs virtual time."""

    def __init__(self, cluster: Cluster, request: Callable[[], None]) -> None:
        self._cluster = cluster
        self._done = True
        self._error: Exception | None = None
        try:
            request()
        except errors.KafkaTimeoutError:
            self._done = False
        except errors.KafkaError as error:
            self._error = error

    def wait(self, timeout_ms: float) -> bool:
        if not self._done:
            self._cluster.advance(round(timeout_ms))
        if self._error is not None:
            raise self._error
        return self._done


class TransactionManager:
    """Which requests may follow which, as far as the product comes by it; every call leaves for the cluster at once."""

    def __init__(self, cluster: Cluster, fate: Fate, transactional_id: str) -> None:
        self._cluster = cluster
        self._fate = fate
        self._id = transactional_id
        self.epoch = -1
        self.state = "ready"
        self.fatal: Exception | None = None
        self._pending_txn_offset_commits: dict[TopicPartition, OffsetAndMetadata] = {}

    def begin(self) -> None:
        if self.fatal is not None:
            raise self.fatal
        self._move("ready", "open")

    def send_offsets_to_transaction(
        self, offsets: dict[TopicPartition, OffsetAndMetadata], group: GroupMetadata
    ) -> Answer:
        return Answer(self._cluster, lambda: self._send_offsets(offsets, group))

    def begin_commit(self) -> Answer:
        self._move("open", "committing")
        return Answer(self._cluster, lambda: self._end("commit", "committed"))

    def begin_abort(self) -> Answer:
        if self.fatal is not None:
            raise self.fatal
        self._move("open", "aborting")
        return Answer(self._cluster, lambda: self._end("abort", "aborted"))

    def _send_offsets(self, offsets: dict[TopicPartition, OffsetAndMetadata], group: GroupMetadata) -> None:
        self._fate.meet("offsets")
        self._pending_txn_offset_commits |= offsets
        try:
            self._cluster.group.check_commit(group.member_id, group.group_instance_id, int(group.generation_id))
        except (errors.UnknownMemberIdError, errors.IllegalGenerationError) as error:
            # kafka-python makes one abortable error of both; a fenced instance id stays itself.
            raise errors.CommitFailedError(type(error).__name__) from error
        try:
            self._cluster.transactions.add_offsets(self._id, self.epoch, self._pending_txn_offset_commits)
        except errors.InvalidProducerEpochError as error:
            self.fatal = errors.ProducerFencedError()
            raise self.fatal from error
        self._pending_txn_offset_commits = {}

    def _end(self, point: str, outcome: str) -> None:
        self._fate.meet(point)
        try:
            self._cluster.transactions.end(self._id, self.epoch, outcome)
        except errors.ProducerFencedError as error:
            self.fatal = error
            raise
        if outcome == "committed":
            self._fate.meet("committed")
        self.state = "ready"

    def _move(self, before: str, after: str) -> None:
        if self.state != before:
            raise errors.InvalidTxnStateError(f"{self.state}, not {before}")
        self.state = after


class Producer:
    """Buffers until `flush`; one whose commit or abort has no answer stays in the middle of it."""

    def __init__(self, cluster: Cluster, fate: Fate, options: dict[str, Any]) -> None:
        self._cluster = cluster
        self._fate = fate
        self.transactional_id: str = options["transactional_id"]
        self._timeout_ms: int = options["transaction_timeout_ms"]
        self._transaction_manager = TransactionManager(cluster, fate, self.transactional_id)
        self._sender = SimpleNamespace(
            config=options,
            wakeup=lambda: None,
            force_close=lambda: None,
            join=lambda _seconds: None,
            _client=SimpleNamespace(await_ready=None),
        )
        self._sent: list[Sent] = []

    def init_transactions(self) -> None:
        self._fate.meet("init")
        self._transaction_manager.epoch = self._cluster.transactions.init(self.transactional_id, self._timeout_ms)

    def begin_transaction(self) -> None:
        self._fate.meet("begin")
        self._transaction_manager.begin()
        self._sent = []

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: list[tuple[str, bytes]],
        partition: int | None,
    ) -> Sent:
        if self._transaction_manager.state != "open":
            raise errors.InvalidTxnStateError("no transaction is open")
        count = len(self._cluster.topics[topic])
        number = zlib.crc32(key or b"") % count if partition is None else partition
        self._sent.append(Sent(TopicPartition(topic, number), (key, value, tuple(headers))))
        return self._sent[-1]

    def flush(self, timeout: float | None = None) -> None:
        self._fate.meet("flush")
        epoch = self._transaction_manager.epoch
        for sent in self._sent:
            try:
                self._fate.meet("send")
                self._cluster.transactions.produce(self.transactional_id, epoch, sent.tp, *sent.message)
            except errors.KafkaError as error:
                sent.error = error
        self._sent = []

    def later(self, ms: int) -> None:
        """The commit request is on its way while the caller is told nothing."""
        self._cluster.commit_later(ms, self.transactional_id, self._transaction_manager.epoch)

    def _unregister_cleanup(self) -> None:
        """What is open stays open."""
