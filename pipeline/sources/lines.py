"""Lines out of bytes, with bounded memory: plain or compressed files, and pieces of a stream."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from longwatch.pipeline.errors import InputError
from longwatch.pipeline.sources.zstd_frames import is_whole

CHUNK_BYTES = 1 << 18

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


class Readable(Protocol):
    """A byte stream."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class LineSplitter:
    """Splits a stream that comes in pieces; line ends (LF or CRLF) are taken off.

    Of a line longer than `max_bytes` only the first `max_bytes` + 1 bytes are kept: enough for decode to see that it
    is too large, whatever its length.
    """

    def __init__(self, max_bytes: int) -> None:
        self._limit = max_bytes + 1
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in this piece."""
        lines = piece.split(b"\n")
        lines[0] = self._rest + lines[0]
        self._rest = lines.pop()[: self._limit]
        return [line[: self._limit].removesuffix(b"\r") for line in lines]

    def finish(self) -> list[bytes]:
        """The last line, where it has no line end."""
        rest, self._rest = self._rest, b""
        return [rest.removesuffix(b"\r")] if rest else []


def read_lines(path: Path, max_bytes: int) -> Iterator[list[bytes]]:
    """Lines of a file, plain, gzip or zstd (told by its first bytes), a list for each piece read.

    Raises InputError for a file that is missing, unreadable or damaged.
    """
    splitter = LineSplitter(max_bytes)
    number = 0
    with _open(path) as stream:
        while True:
            try:
                piece = stream.read(CHUNK_BYTES)
            except (*_DAMAGE, OSError) as error:
                raise InputError(
                    f"cannot read on: {error}",
                    "the file is cut off or damaged; copy it again",
                    source=f"{path}:{number + 1}",
                ) from error
            lines = splitter.feed(piece) if piece else splitter.finish()
            number += len(lines)
            if lines:
                yield lines
            if not piece:
                return


@dataclass(frozen=True)
class _WholeZstd:
    """A zstd stream that, unlike the library's, does not take a file that was cut off for a whole one."""

    stream: Readable
    file: BinaryIO

    def read(self, size: int, /) -> bytes:
        piece = self.stream.read(size)
        if not piece and not is_whole(self.file):
            raise EOFError("the last zstd frame ends before its end")
        return piece


@contextmanager
def _open(path: Path) -> Iterator[Readable]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(
            f"cannot open: {error.strerror}", "check the path and its permissions", source=str(path)
        ) from error
    with file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream
        elif start == _ZSTD:
            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False) as stream:
                yield _WholeZstd(stream, file)
        else:
            yield file
