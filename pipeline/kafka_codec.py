"""Decompression with an end: a batch of 32 KiB may hold a gigabyte, and the client library would make all of it."""

import io
import zlib
from collections.abc import Iterator

import lz4.frame
import snappy
import zstandard

CHUNK = 64 * 1024
XERIAL = b"\x82SNAPPY\x00"
_BLOCK_LENGTH = 4

_SNAPPY = 2
NAMES = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


class TooLargeError(Exception):
    """A batch would be larger than allowed."""


def decompress(codec: int, data: bytes, limit: int) -> bytes:
    """The records of a batch compressed with codec 1 to 4; never holds much more than `limit` bytes of them.

    Raises TooLargeError past the limit, ValueError for an unknown codec, and what the codec's library raises.
    """
    if codec not in NAMES:
        raise ValueError(f"codec {codec} is not known; 1 to 4 are gzip, snappy, lz4, zstd")
    parts, size = [], 0
    for part in _chunks(codec, data, limit):
        size += len(part)
        if size > limit:
            raise TooLargeError(f"{NAMES[codec]}: {len(data):,} bytes would become more than {limit:,}")
        parts.append(part)
    return b"".join(parts)


def _chunks(codec: int, data: bytes, limit: int) -> Iterator[bytes]:
    return _snappy(data, limit) if codec == _SNAPPY else {1: _gzip, 3: _lz4, 4: _zstd}[codec](data)


def _gzip(data: bytes) -> Iterator[bytes]:
    """Members one after the other, as Java's GZIPInputStream reads them."""
    rest = data
    while rest:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            part = member.decompress(rest, CHUNK)
            if not part and not member.eof and not member.unconsumed_tail:
                raise EOFError("gzip: the data ends too early")
            yield part
            rest = member.unconsumed_tail
        rest = member.unused_data


def _snappy(data: bytes, limit: int) -> Iterator[bytes]:
    """One block, or many as Java's Snappy frames them: 16 bytes, then each block behind its length."""
    if not data.startswith(XERIAL):
        yield _snappy_block(data, limit)
        return
    at = 16
    while at < len(data):
        length = int.from_bytes(data[at : at + _BLOCK_LENGTH], "big", signed=True)
        at += _BLOCK_LENGTH
        if not 0 <= length <= len(data) - at:
            raise ValueError(f"snappy: a block says {length:,} bytes, {len(data) - at:,} are left")
        yield _snappy_block(data[at : at + length], limit)
        at += length


def _snappy_block(block: bytes, limit: int) -> bytes:
    """A block begins with its size, seven bits a byte; the library makes room for it before it reads on."""
    size = 0
    for place, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    if size > limit:
        raise TooLargeError(f"snappy: a block of {len(block):,} bytes would become more than {limit:,}")
    return bytes(snappy.decompress(block))


def _lz4(data: bytes) -> Iterator[bytes]:
    rest: bytes | None = data
    while rest:
        frame = lz4.frame.LZ4FrameDecompressor()
        part = frame.decompress(rest, max_length=CHUNK)
        yield part
        while not frame.eof:
            part = frame.decompress(b"", max_length=CHUNK)
            if not part and frame.needs_input:
                raise EOFError("lz4: the data ends too early")
            yield part
        rest = frame.unused_data


def _zstd(data: bytes) -> Iterator[bytes]:
    # The library itself refuses a frame that asks for a window above 128 MiB.
    reading = zstandard.ZstdDecompressor()
    with reading.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        while part := reader.read(CHUNK):
            yield part
