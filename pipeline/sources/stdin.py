"""Lines of a byte stream such as standard input: live, read once, never back."""

import io
import select
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from longwatch.pipeline.errors import InputError
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources import POLL_MS
from longwatch.pipeline.sources.lines import CHUNK_BYTES, LineSplitter
from longwatch.pipeline.sources.merging import as_records


class StdinSource:
    """Lines of `stream` as records of one partition, numbered from 0, each arriving when it is read.

    What was read is gone, so each run is a log of its own: its topic id carries the start of the run, no committed
    offset and no alert id of another run fits it, and `seek` cannot go back. A line is cut behind `max_bytes` + 1
    bytes.
    """

    def __init__(
        self,
        stream: IO[bytes],
        name: str,
        now_ms: Callable[[], int],
        *,
        max_bytes: int = 1 << 20,
        poll_records: int = 4096,
        timeout_ms: int = 200,
    ) -> None:
        # Unbuffered, so that `select` knows of every byte that waits.
        self._stream: Any = getattr(stream, "raw", stream)
        self._now_ms = now_ms
        self._splitter = LineSplitter(max_bytes)
        self._poll_records = poll_records
        self._timeout_ms = timeout_ms
        self._waiting: deque[bytes] = deque()
        self._next = 0
        self._wanted = 0
        self._ended = False
        self.partitions = (Partition(name, f"stdin:{name}:{now_ms()}", 0),)

    @property
    def exhausted(self) -> bool:
        """Whether the stream has ended and every line of it has been given."""
        return self._ended and not self._waiting

    def poll(self, timeout_ms: int = POLL_MS) -> list[RecordBatch]:
        """At most `poll_records` lines; empty where none came within the patience it was made with."""
        if not self._waiting and not self._ended and self._readable():
            self._read()
        lines = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._poll_records))]
        skipped = min(len(lines), max(0, self._wanted - self._next))
        first = self._next + skipped
        self._next += len(lines)
        if skipped == len(lines):
            return []
        frame = as_records(lines[skipped:], [None] * (len(lines) - skipped), self._now_ms(), first)
        return [RecordBatch(self.partitions[0], frame, self._next)]

    def seek(self, partition: Partition, offset: int) -> None:
        """Skip to a later line; InputError for one that has been read."""
        if offset < self._next:
            raise InputError(
                f"line {self._next} comes next and line {offset} was asked for",
                "a stream cannot be read again; write it to a file, or to Kafka, to be able to",
                source=str(partition),
            )
        self._wanted = offset

    def hold(self) -> None:
        """Nothing: it is read no further than it is polled."""

    def start(self, _partition: Partition) -> int:
        """The next line."""
        return self._next

    def readable_from(self, _partition: Partition) -> int:
        """The next line: what was read is gone."""
        return self._next

    def at_end(self, _partition: Partition) -> bool:
        """Whether every line that has come was given."""
        return not self._waiting

    def known_ends(self) -> dict[Partition, int]:
        """None: where the input ends shows when it is reached."""
        return {}

    def answers(self) -> bool:
        """Always: what cannot be read is an error."""
        return True

    def close(self) -> None:
        """Leaves the stream open: it is the caller's."""

    def _readable(self) -> bool:
        try:
            descriptor = self._stream.fileno()
        except (AttributeError, io.UnsupportedOperation):
            return True
        return bool(select.select([descriptor], [], [], self._timeout_ms / 1000)[0])

    def _read(self) -> None:
        piece = self._stream.read(CHUNK_BYTES)
        self._ended = piece == b""
        self._waiting += self._splitter.finish() if self._ended else self._splitter.feed(piece or b"")
