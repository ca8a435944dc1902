"""Alerts as lines: appended to a file, or printed for a person or a pipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import TextIO

from longwatch.pipeline.console import json_line
from longwatch.pipeline.errors import StateError


class LineFile:
    """Appends each alert as one line of JSON, synced to disk before the call returns.

    Raises:
        StateError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, values: Sequence[bytes]) -> None:
        """Take committed alerts, in order."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk did not take is not tried again when the file is closed.
            with self._path.open("ab+", buffering=0) as file:
                _append(file, b"".join(value + b"\n" for value in values))
                os.fsync(file.fileno())
        except OSError as error:
            raise StateError(
                f"{self._path}: alerts cannot be appended: {error}",
                hint="they stay in the database and are written at the next start; free the disk or change the path",
            ) from error


def _append(file: FileIO, lines: bytes) -> None:
    """All of it, on a line of its own even where a crash left half a line; of what does not fit, nothing."""
    before = file.seek(0, os.SEEK_END)
    if before and os.pread(file.fileno(), 1, before - 1) != b"\n":
        lines = b"\n" + lines
    left = memoryview(lines)
    try:
        while left:
            left = left[file.write(left) or 0 :]
    except OSError:
        file.truncate(before)
        raise


class LineStream:
    """Prints each alert through `render`, JSON without control characters unless told otherwise.

    Raises:
        StateError: nobody reads the stream any more.
    """

    def __init__(self, stream: TextIO, render: Callable[[bytes], str] = json_line) -> None:
        self._stream = stream
        self._render = render

    def __call__(self, values: Sequence[bytes]) -> None:
        """Take committed alerts, in order."""
        encoding = self._stream.encoding or "utf-8"
        try:
            for value in values:
                # An alert is never lost, nor the worker stopped, for a character that the terminal does not have.
                self._stream.write(self._render(value).encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
        except OSError as error:
            raise StateError(
                f"alerts cannot be printed: {error}",
                hint="they stay in the database until the next start; `sink.embedded.stdout: false` prints none",
            ) from error
