"""Lines of files, numbered as the topic would number them that held them."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources import POLL_MS
from longwatch.pipeline.sources.merging import Lines, as_records, merged_lines, regroup
from longwatch.pipeline.sources.partitioner import partition_of


@dataclass(frozen=True)
class TopicShape:
    """The topic that the lines are numbered for; the same shape and files give the same offsets and alert ids.

    `topic_id` is the live topic's UUID where alert ids must equal those of the live topic; `file:<name>` otherwise.
    """

    name: str
    topic_id: str = ""
    partitions: int = 1

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "TopicShape":
        """One partition named after the files, so that other files are another log: by name, not by place."""
        names = [path.name for path in paths]
        if len(names) == 1:
            return cls(names[0])
        digest = blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
        return cls(f"{names[0]}+{len(names) - 1}-{digest}")

    def partition(self, number: int) -> Partition:
        """One of its partitions."""
        return Partition(self.name, self.topic_id or f"file:{self.name}", number)


class FilesSource:
    """Lines of `paths` (plain, gzip, zstd), merged by event time, as records of the topic `shape`.

    With one partition line n has offset n. With several, a line's key is its entity and Kafka's default partitioner
    places it; a line without an entity goes to partition 0 without a key. Several files or partitions need the
    `decoder`. Every record arrives at `arrival_ms`. A line is cut behind `max_bytes` + 1 bytes.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shape: TopicShape,
        decoder: Decoder | None = None,
        *,
        arrival_ms: int = -1,
        max_bytes: int = 1 << 20,
        poll_records: int = 4096,
    ) -> None:
        if decoder is None and (len(paths) > 1 or shape.partitions > 1):
            raise ValueError("several files or partitions need a decoder, for event times and keys")
        self.partitions = tuple(map(shape.partition, range(shape.partitions)))
        self._paths = tuple(paths)
        self._decoder = decoder if len(paths) > 1 or shape.partitions > 1 else None
        self._arrival_ms = arrival_ms
        self._max_bytes = max_bytes
        self._poll_records = poll_records
        self._wanted = [0] * shape.partitions
        self._passed = [0] * shape.partitions
        self._at_end = False
        self._lines = self._open()

    @property
    def exhausted(self) -> bool:
        """Whether every line has been read."""
        return self._at_end

    def poll(self, timeout_ms: int = POLL_MS) -> list[RecordBatch]:
        """The next `poll_records` lines, a batch for each partition that has some; empty only at the end.

        Raises InputError when the files end before the line that was to be read next.
        """
        for lines in self._lines:
            batches = [batch for number in range(len(self.partitions)) if (batch := self._batch(number, lines))]
            if batches:
                return batches
        self._check_not_cut()
        self._at_end = True
        return []

    def seek(self, partition: Partition, offset: int) -> None:
        """Read this offset next; going back reads the files again from their start."""
        self._wanted[partition.partition] = offset
        if offset < self._passed[partition.partition]:
            self._passed = [0] * len(self.partitions)
            self._at_end = False
            self._lines = self._open()

    def hold(self) -> None:
        """Nothing: it is read no further than it is polled."""

    def start(self, _partition: Partition) -> int:
        """Always 0."""
        return 0

    def readable_from(self, _partition: Partition) -> int:
        """Always 0: files are kept whole."""
        return 0

    def at_end(self, _partition: Partition) -> bool:
        """Whether every line has been read."""
        return self._at_end

    def known_ends(self) -> dict[Partition, int]:
        """None: where the input ends shows when it is reached."""
        return {}

    def answers(self) -> bool:
        """Always: what cannot be read is an error."""
        return True

    def close(self) -> None:
        """Close the files."""
        self._lines.close()

    def _check_not_cut(self) -> None:
        for partition, wanted, held in zip(self.partitions, self._wanted, self._passed, strict=True):
            if wanted > held:
                raise InputError(
                    f"{wanted} records were read in an earlier run, and now there are {held}",
                    "they were cut or replaced since: give the new ones a database of their own",
                    source=str(partition),
                )

    def _open(self) -> Generator[Lines, None, None]:
        merged = merged_lines(self._paths, self._max_bytes, self._arrival_ms, self._decoder)
        return regroup(merged, self._poll_records)

    def _batch(self, number: int, lines: Lines) -> RecordBatch | None:
        """The partition's part of the lines, without what lies before the wanted offset."""
        values, keys = self._own(number, lines)
        first = self._passed[number]
        self._passed[number] += len(values)
        skipped = max(0, self._wanted[number] - first)
        if skipped >= len(values):
            return None
        self._wanted[number] = self._passed[number]
        frame = as_records(values[skipped:], keys[skipped:], self._arrival_ms, first + skipped)
        return RecordBatch(self.partitions[number], frame, self._passed[number])

    def _own(self, number: int, lines: Lines) -> tuple[list[bytes], list[bytes | None]]:
        if len(self.partitions) == 1:
            return lines.values, [None] * len(lines.values)
        keys = [None if entity is None else entity.encode() for entity in lines.entities]
        places = [0 if key is None else partition_of(key, len(self.partitions)) for key in keys]
        rows = [row for row, place in enumerate(places) if place == number]
        return [lines.values[row] for row in rows], [keys[row] for row in rows]
