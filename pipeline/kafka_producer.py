"""Outputs and input offsets in one Kafka transaction: all of it becomes visible, or nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from longwatch.pipeline.errors import BrokerError, FencedError, StateError
from longwatch.pipeline.kafka_client import OffsetAndMetadata, TopicPartition, translate, translated
from longwatch.pipeline.kafka_errors import CommitAbortedError, CommitUnknownError, OutputTooLargeError
from longwatch.pipeline.kafka_port import KAFKA, Port
from longwatch.pipeline.kafka_settings import METADATA_BYTES, KafkaSettings, Output
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.records import Partition
from longwatch.pipeline.steps import Observer, Step, unobserved

RECORD_OVERHEAD = 1024


class TransactionalProducer:
    """The only writer under its transactional id: opening it fences an earlier one and ends what that left open.

    A commit whose outcome cannot be learned costs the client that made it: the next `settle` opens another one under
    the same id, which ends the open transaction, committed or aborted; the committed offsets then say which it was.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        transactional_id: str,
        watchdog: Watchdog | None = None,
        observe: Observer = unobserved,
        port: Port = KAFKA,
    ) -> None:
        self._settings = settings
        self._id = transactional_id
        self._port = port
        self._watchdog = watchdog or port.watchdog()
        self._observe = observe
        self._producer: Any = None
        self._open()
        self._observe(Step.OPENED)

    def settle(self) -> None:
        """Wait until no transaction of this id is open: what the group has committed then stays as it is.

        Raises BrokerError while no broker is there to ask.
        """
        if self._producer is None:
            self._open()
            self._observe(Step.REOPENED)

    def commit(
        self, outputs: Sequence[Output], offsets: Mapping[Partition, tuple[int, str]], group_metadata: Any
    ) -> None:
        """Write `outputs` in order and commit `offsets` {partition: (next offset, metadata)} in one transaction.

        Raises CommitAbortedError (retriable: read again from the committed offsets), CommitUnknownError (first
        `settle`, then the same), OutputTooLargeError before anything is sent, and FencedError (exit 76).
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
        self._observe(Step.COMMITTED)

    def close(self) -> None:
        """Stop; an open transaction is aborted by the next holder of the id, or by the broker's timeout."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with self._guard("close"):
                producer.close()

    def _open(self) -> None:
        with self._guard("connection"):
            self._producer = self._port.open_producer(self._settings, self._id)
        try:
            with self._guard("init_transactions"), translated(f"opening transactions as {self._id}", self._settings):
                self._producer.init_transactions()
        except BaseException:
            self.close()
            raise

    def _abandon(self) -> None:
        self.close()
        self._observe(Step.ABANDONED)

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
        self._observe(Step.BEGUN)
        sent = [self._send(output) for output in outputs]
        self._producer.flush()
        for future in sent:
            # Done since the flush; get() raises what a broker said about this record.
            future.get(timeout=0)
        self._observe(Step.FLUSHED)
        if committed:
            self._producer.send_offsets_to_transaction(committed, group_metadata)
        self._observe(Step.OFFSETS_SENT)

    def _send(self, output: Output) -> Any:
        future = self._producer.send(output.topic, output.value, output.key, list(output.headers), output.partition)
        self._observe(Step.PRODUCED)
        return future

    def _abort(self, cause: Exception) -> None:
        """Raise what the failed write means; nothing of it was committed, nor can be: no commit was asked for."""
        failure = translate(cause, f"writing as {self._id}", self._settings)
        if isinstance(failure, FencedError):
            raise failure from cause
        self._observe(Step.ABORTING)
        try:
            self._producer.abort_transaction()
        except Exception as error:
            end = translate(error, f"aborting as {self._id} after {type(cause).__name__}: {cause}", self._settings)
            if isinstance(end, FencedError):
                raise end from cause
            self._abandon()
        else:
            self._observe(Step.ABORTED)
        raise CommitAbortedError(failure.message, "read again from the committed offsets") from cause

    def _after_commit(self, error: Exception) -> Exception:
        failure = translate(error, f"committing as {self._id}", self._settings)
        if isinstance(failure, FencedError):
            return failure
        self._abandon()
        return CommitUnknownError(failure.message, "the committed offsets will tell; restart if this is the end")

    def _guard(self, what: str) -> Any:
        return self._watchdog.guard(f"{what} of {self._id}", self._settings.call_deadline_seconds)
