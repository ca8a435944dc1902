"""Record batches of format 2 made by hand, so that they can lie; and where a broker keeps them."""

import gzip
import io
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lz4.frame
import zstandard

with warnings.catch_warnings():
    # kafka-python 3.0.12 reads its schemas, at import, through a call that Python 3.11 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.record.default_records import DefaultRecordBase
    from kafka.record.util import calc_crc32c, encode_varint

HEADER = DefaultRecordBase.HEADER_STRUCT
MIB = 1 << 20
RECORDS = 4
FILLER = b'{"no": "time"}'


def varint(number: int) -> bytes:
    """A zigzag number as Kafka writes it."""
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def record(offset: int, value: bytes = FILLER, key: bytes | None = None, **lies: int) -> bytes:
    """One record; `lies` replace its length, value_length or headers (how many)."""
    named = varint(-1) if key is None else varint(len(key)) + key
    body = b"\0\0" + varint(offset) + named + varint(lies.get("value_length", len(value))) + value
    body += varint(lies.get("headers", 0))
    return varint(lies.get("length", len(body))) + body


def batch(base: int, at_ms: int, payload: bytes, count: int = RECORDS, codec: int = 0, span: int = RECORDS) -> bytes:
    """A batch of `span` offsets that says it holds `count` records, its checksum right."""
    rest = HEADER.pack(base, 0, 0, 2, 0, codec, span - 1, at_ms, at_ms, -1, -1, -1, count)
    covered = rest[DefaultRecordBase.ATTRIBUTES_OFFSET :] + payload
    size = len(rest) - DefaultRecordBase.AFTER_LEN_OFFSET + len(payload)
    head = HEADER.pack(base, size, 0, 2, calc_crc32c(covered), codec, span - 1, at_ms, at_ms, -1, -1, -1, count)
    return head[: DefaultRecordBase.ATTRIBUTES_OFFSET] + covered


def _plain(draw: random.Random, **lies: int) -> bytes:
    return b"".join(record(each, **(lies if each == RECORDS - 1 else {})) for each in range(RECORDS))


def _compressed_bomb(size: int, codec: int) -> bytes:
    """One record of `size` zero bytes and a little more, compressed piece by piece."""
    out = io.BytesIO()
    opened: dict[int, Callable[[], object]] = {
        1: lambda: gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0),
        3: lambda: lz4.frame.open(out, "wb"),
        4: lambda: zstandard.ZstdCompressor(level=1).stream_writer(out, closefd=False),
    }
    body = b"\0\0" + varint(0) + varint(-1) + varint(size)
    with opened[codec]() as writer:  # type: ignore[attr-defined]
        writer.write(varint(len(body) + size + 1) + body)
        for _ in range(size // MIB):
            writer.write(bytes(MIB))
        writer.write(b"\0")
    return out.getvalue()


@dataclass(frozen=True)
class Kind:
    """A hostile batch: its payload (drawn), and what its header says. `torn`: a bit of it flips at last."""

    payload: Callable[[random.Random], bytes]
    codec: int = 0
    count: int = RECORDS
    torn: bool = False


def kinds(bomb_bytes: int) -> dict[str, Kind]:
    """Every kind of hostile batch, its bombs as large as said."""
    tiny = b"".join(record(each % 4, b"") for each in range(200_000))
    bare = b"\0\0" + varint(3) + varint(-1) + varint(0) + varint(4 * MIB) + bytes(8 * MIB)
    bombs = {
        f"bomb {name}": Kind(lambda _, codec=codec: _compressed_bomb(bomb_bytes, codec), codec)
        for name, codec in (("gzip", 1), ("lz4", 3), ("zstd", 4))
    }
    return bombs | {
        "bomb snappy": Kind(lambda draw: b"\xff\xff\xff\xff\x07" + draw.randbytes(400), 2),
        "bomb of headers": Kind(lambda _: zstandard.compress(_first_three() + varint(len(bare)) + bare), 4, RECORDS),
        "bomb of tiny records": Kind(lambda _: zstandard.compress(tiny), 4, 200_000),
        "torn checksum": Kind(_plain, torn=True),
        "codec 5": Kind(lambda draw: draw.randbytes(200), 5),
        "codec 7": Kind(lambda draw: draw.randbytes(200), 7),
        "no gzip": Kind(lambda draw: draw.randbytes(300), 1),
        "cut gzip": Kind(lambda draw: gzip.compress(_plain(draw) + draw.randbytes(200), mtime=0)[:-20], 1),
        "no snappy": Kind(lambda draw: b"\x82SNAPPY\0\0\0\0\1\0\0\0\1\x7f\xff\xff\xff" + draw.randbytes(99), 2),
        "no lz4": Kind(lambda draw: b"\x04\x22\x4d\x18" + draw.randbytes(200), 3),
        "cut zstd": Kind(lambda draw: zstandard.compress(_plain(draw) + draw.randbytes(200))[:-20], 4),
        "counts too many": Kind(_plain, count=1000),
        "counts 2^31 - 1": Kind(_plain, count=2**31 - 1),
        "counts too few": Kind(_plain, count=1),
        "counts below nothing": Kind(_plain, count=-5),
        "value too long": Kind(lambda draw: _plain(draw, value_length=2**31 - 1)),
        "value below nothing": Kind(lambda draw: _plain(draw, value_length=-7)),
        "record too long": Kind(lambda draw: _plain(draw, length=2**40)),
        "headers without end": Kind(lambda draw: _plain(draw, headers=2**60)),
        "headers below nothing": Kind(lambda draw: _plain(draw, headers=-3)),
        "offsets twice": Kind(lambda _: b"".join(record(each) for each in (0, 1, 1, 2))),
        "offsets back": Kind(lambda _: b"".join(record(each) for each in (0, 3, 1, 2))),
        "offsets far ahead": Kind(lambda _: b"".join(record(each) for each in (0, 1, 2, 2**31 - 1))),
        "offsets before": Kind(lambda _: b"".join(record(each) for each in (-5, -4, -3, -2))),
        "a number without end": Kind(lambda _: b"\xff" * 100),
        "bytes behind": Kind(lambda draw: _plain(draw) + draw.randbytes(50)),
        "random": Kind(lambda draw: draw.randbytes(draw.randrange(50, 500))),
    }


def _first_three() -> bytes:
    return b"".join(record(each) for each in range(RECORDS - 1))


def hostile_batch(kind: Kind, payload: bytes, base: int, at_ms: int) -> bytes:
    """The batch as the broker will hold it from offset `base` on."""
    content = batch(base, at_ms, payload, kind.count, kind.codec)
    return content[:-5] + bytes([content[-5] ^ 4]) + content[-4:] if kind.torn else content


def placeholder(size: int) -> list[tuple[bytes | None, bytes]]:
    """RECORDS (key, value) records that a producer puts into one batch of exactly `size` bytes."""
    first = [(None, b"")] * (RECORDS - 1)
    fixed = HEADER.size + sum(len(record(each, b"")) for each in range(RECORDS - 1))
    for key in (None, b"", b"k", b"kk"):
        for overhead in range(12):
            filler = size - fixed - len(record(RECORDS - 1, b"", key)) - overhead
            if filler >= 0 and fixed + len(record(RECORDS - 1, bytes(filler), key)) == size:
                return [*first, (key, b"p" * filler)]
    raise ValueError(f"no batch of {RECORDS} records has {size} bytes")


def overwrite(folder: Path, batches: dict[int, bytes]) -> None:
    """Put each batch {offset: bytes} in the place of the one of that offset and size in a partition's segments."""
    left = dict(batches)
    for segment in sorted(folder.glob("*.log")):
        with segment.open("r+b") as log:
            for place, base, size in _headers(segment):
                if base in left:
                    assert size == len(left[base]), f"batch {base} has {size} bytes, {len(left[base])} are planted"
                    log.seek(place)
                    log.write(left.pop(base))
    assert not left, f"no batch begins at {sorted(left)}"


def _headers(segment: Path) -> Iterator[tuple[int, int, int]]:
    """(place, base offset, size) of each batch of a segment."""
    with segment.open("rb") as log:
        place = 0
        while len(head := log.read(12)) == 12 and (length := int.from_bytes(head[8:], "big")):
            yield place, int.from_bytes(head[:8], "big"), length + 12
            place += length + 12
            log.seek(place)
