"""Marks as lines of JSON in a file beside an embedded worker's database; a place is the byte a line begins at."""

from __future__ import annotations

from pathlib import Path

import structlog

from longwatch.pipeline.errors import StateError
from longwatch.pipeline.feedback.marks import MARK_BYTES, MarkBook
from longwatch.pipeline.sinks.streams import LineFile

log = structlog.get_logger("longwatch.feedback")

MOST_BYTES = 4 << 20


class FileMarkLog:
    """Reads whole lines as they are appended; half a line is waited for."""

    def __init__(self, path: Path, book: MarkBook) -> None:
        self._path = path
        self._read = 0
        self._troubled = False
        self.book = book

    def look(self) -> None:
        """Read what was appended since; a file that is not there holds nothing yet."""
        try:
            self._look()
            self._troubled = False
        except FileNotFoundError:
            pass
        except OSError as error:
            if not self._troubled:
                log.warning("marks_unreadable", file=str(self._path), why=str(error), effect="no new mark is heeded")
            self._troubled = True

    def reach(self, upto: int) -> None:
        """Read up to there; StateError where the file ends before."""
        while self._read < upto:
            before = self._read
            self.look()
            if self._read == before:
                raise StateError(
                    f"{self._path}: holds {before} bytes of marks, and {upto} were in force at the last commit",
                    "put the file back as it was: what was silenced cannot be known without it",
                )

    def _look(self) -> None:
        if self._path.stat().st_size == self._read:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            found = file.read(MOST_BYTES)
        whole = found.rfind(b"\n") + 1
        for line in found[:whole].splitlines(keepends=True):
            place, self._read = self._read, self._read + len(line)
            if line.strip():
                self.book.add(place, line, self._read)
        if not whole and len(found) > MARK_BYTES:
            # No mark is that long: a line without an end is passed over rather than waited for.
            self._read += len(found)


def append_entry(path: Path, value: bytes) -> None:
    """Add a mark or a withdrawal, synced to disk; StateError where it cannot be."""
    LineFile(path)([value])
