"""Where records come from: a Kafka topic, files, standard input."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from longwatch.pipeline.records import Partition, RecordBatch

POLL_MS = 200


class Source(Protocol):
    """Record batches of partitions, each in the order of its offsets."""

    @property
    def exhausted(self) -> bool:
        """Whether no record will ever come again; always False for a live source."""
        ...

    def poll(self, timeout_ms: int = POLL_MS) -> list[RecordBatch]:
        """The next records, at most one batch per partition; empty where none came in time.

        A source with a patience of its own need not look at `timeout_ms`.
        """
        ...

    def seek(self, partition: Partition, offset: int, /) -> None:
        """Read this offset of the partition next."""
        ...

    def hold(self) -> None:
        """Give no records of a partition from now on until it is sought; who reads waits for what it writes to."""
        ...

    def start(self, partition: Partition, /) -> int:
        """Where a partition begins that nothing has been committed of."""
        ...

    def readable_from(self, partition: Partition, /) -> int:
        """The first offset that can still be read."""
        ...

    def at_end(self, partition: Partition, /) -> bool:
        """Whether all that the partition holds so far has been read."""
        ...

    def known_ends(self) -> Mapping[Partition, int]:
        """The offset behind each partition's last record, as far as that is known without asking anybody."""
        ...

    def answers(self) -> bool:
        """Whether what the records come from still answers, as far as that is known without asking."""
        ...

    def close(self) -> None:
        """Give back what the source holds open."""
        ...


class BoundedSource(Source, Protocol):
    """A source that ends, and whose partitions are known before it is read."""

    @property
    def partitions(self) -> Sequence[Partition]:
        """All of them."""
        ...
