"""Outputs and input offsets in one Kafka transaction: all of it becomes visible, or nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from longwatch.pipeline.errors import BrokerError, FencedError, StateError
from longwatch.pipeline.kafka_client import OffsetAndMetadata, TopicPartition, open_producer, translate, translated
from longwatch.pipeline.kafka_errors import CommitAbortedError, CommitUnknownError, OutputTooLargeError
from longwatch.pipeline.kafka_settings import METADATA_BYTES, KafkaSettings, Output
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.records import Partition

RECORD_OVERHEAD = 1024


def _nothing(point: str) -> None:
    pass


class TransactionalProducer:
    """The only writer under its transactional id: opening it fences an earlier one and ends what that left open.

    A commit whose outcome cannot be learned costs the client that made it: the next `settle` opens another one under
    the same id, which ends the open transaction, committed or aborted; the committed offsets then say which it was.
    `passed` is called with the name of each point of a commit ("begun", "sent", "offsets", "committed"), for tests
    that crash there.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        transactional_id: str,
        watchdog: Watchdog | None = None,
        passed: Callable[[str], None] = _nothing,
    ) -> None:
        self._settings = settings
        self._id = transactional_id
        self._watchdog = watchdog or Watchdog()
        self._passed = passed
        self._producer: Any = None
        self.settle()

    def settle(self) -> None:
        """Wait until no transaction of this id is open: what the group has committed then stays as it is.

        Raises BrokerError while no broker is there to ask.
        """
        if self._producer is not None:
            return
        with self._guard("connection"):
            self._producer = open_producer(self._settings, self._id)
        try:
            with self._guard("init_transactions"), translated(f"opening transactions as {self._id}", self._settings):
                self._producer.init_transactions()
        except BaseException:
            self.close()
            raise

    def commit(
        self, outputs: Sequence[Output], offsets: Mapping[Partition, tuple[int, str]], group_metadata: Any
    ) -> None:
        """Write `outputs` in order and commit `offsets` {partition: (next offset, metadata)} in one transaction.

        Raises CommitAbortedError (retriable: read again from the committed offsets), CommitUnknownError (first
        `settle`, then the same), OutputTooLargeError before anything is sent, and FencedError (exit 75).
        """
        committed = self._checked(outputs, offsets)
        if committed and group_metadata.generation_id < 0:
            # A broker takes offsets from a stranger to the group unchecked: a member that was thrown out is one.
            raise CommitAbortedError(f"{self._id} is not a member of the group now", "poll again to rejoin")
        self._open_again()
        with self._guard("commit"):
            try:
                self._write(outputs, committed, group_metadata)
            except Exception as error:
                self._abort(error)
            try:
                self._producer.commit_transaction()
            except Exception as error:
                raise self._after_commit(error) from error
        self._passed("committed")

    def close(self) -> None:
        """Stop; an open transaction is aborted by the next holder of the id, or by the broker's timeout."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with self._guard("close"):
                producer.close()

    def _open_again(self) -> None:
        try:
            self.settle()
        except BrokerError as error:
            if error.retriable:
                raise CommitAbortedError(error.message, "read again from the committed offsets") from error
            raise

    def _checked(self, outputs: Sequence[Output], offsets: Mapping[Partition, tuple[int, str]]) -> dict[Any, Any]:
        for output in outputs:
            if output.size + RECORD_OVERHEAD > self._settings.max_request_bytes:
                raise OutputTooLargeError(
                    f"a record of {output.size:,} bytes for topic {output.topic} does not fit into a request of "
                    f"{self._settings.max_request_bytes:,} bytes"
                )
        for partition, (_, metadata) in offsets.items():
            if len(metadata.encode()) > METADATA_BYTES:
                raise StateError(
                    f"the text committed for {partition} has {len(metadata.encode()):,} bytes; a broker takes "
                    f"{METADATA_BYTES:,} (offset.metadata.max.bytes)"
                )
        return {
            TopicPartition(partition.topic, partition.partition): OffsetAndMetadata(offset, metadata, -1)
            for partition, (offset, metadata) in offsets.items()
        }

    def _write(self, outputs: Sequence[Output], committed: dict[Any, Any], group_metadata: Any) -> None:
        self._producer.begin_transaction()
        self._passed("begun")
        sent = [
            self._producer.send(each.topic, each.value, each.key, list(each.headers), each.partition)
            for each in outputs
        ]
        self._producer.flush()
        for future in sent:
            # Done since the flush; get() raises what a broker said about this record.
            future.get(timeout=0)
        self._passed("sent")
        if committed:
            self._producer.send_offsets_to_transaction(committed, group_metadata)
        self._passed("offsets")

    def _abort(self, cause: Exception) -> None:
        """Raise what the failed write means; nothing of it was committed, nor can be: no commit was asked for."""
        failure = translate(cause, f"writing as {self._id}", self._settings)
        if isinstance(failure, FencedError):
            raise failure from cause
        try:
            self._producer.abort_transaction()
        except Exception as error:
            end = translate(error, f"aborting as {self._id} after {type(cause).__name__}: {cause}", self._settings)
            if isinstance(end, FencedError):
                raise end from cause
            self.close()
        raise CommitAbortedError(failure.message, "read again from the committed offsets") from cause

    def _after_commit(self, error: Exception) -> Exception:
        failure = translate(error, f"committing as {self._id}", self._settings)
        if isinstance(failure, FencedError):
            return failure
        self.close()
        return CommitUnknownError(failure.message, "the committed offsets will tell; restart if this is the end")

    def _guard(self, what: str) -> Any:
        return self._watchdog.guard(f"{what} of {self._id}", self._settings.call_deadline_seconds)
