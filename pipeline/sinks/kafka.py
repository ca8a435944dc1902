"""Kafka mode: alerts, dead letters, late events and input offsets in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from longwatch.pipeline import kafka_settings
from longwatch.pipeline.alert_formats.choice import AlertFormat, content_type, render
from longwatch.pipeline.checkpoint import Position, decode_position
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_settings import Committed
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition


class KafkaStore:
    """Positions live in the consumer group's offsets and their metadata, outputs in topics by kind.

    committed: what the group has committed for a partition. membership: the group identity to commit under, as of
    the last poll, so that the broker refuses the commit of a worker that has been replaced (KIP-447). copies: topics
    that get each alert in another form, in the same transaction.
    """

    def __init__(
        self,
        producer: TransactionalProducer,
        topics: Mapping[Kind, str],
        committed: Callable[[Partition], Committed | None],
        membership: Callable[[], Any],
        copies: Mapping[str, AlertFormat] = MappingProxyType({}),
    ) -> None:
        self._producer = producer
        self._topics = dict(topics)
        self._committed = committed
        self._membership = membership
        self._copies = dict(copies)

    def committed(self, partition: Partition) -> Position | None:
        """Last committed position of a partition; None where the group has committed nothing."""
        self._producer.settle()
        found = self._committed(partition)
        return None if found is None else decode_position(partition, found.offset, found.metadata)

    def commit(self, outputs: list[Output], positions: dict[Partition, Position]) -> None:
        """All in one transaction; CommitAbortedError when nothing of it happened, CommitUnknownError when unsure."""
        records = [record for output in outputs for record in self._records(output)]
        offsets = {
            partition: (position.next_offset, position.encode_metadata()) for partition, position in positions.items()
        }
        self._producer.commit(records, offsets, self._membership())

    def _records(self, output: Output) -> Iterator[kafka_settings.Output]:
        yield kafka_settings.Output(self._topics[output.kind], output.key, output.value, output.headers)
        if output.kind is Kind.ALERT:
            for topic, form in self._copies.items():
                headers = (("content-type", content_type(form).encode()),)
                yield kafka_settings.Output(topic, output.key, render(output.value, form), headers)

    def close(self) -> None:
        """Stop the producer; an open transaction is aborted by the next worker of this name."""
        self._producer.close()
