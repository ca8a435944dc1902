"""Decompression stops at its limit, whatever the codec, and never makes what it refuses."""

import gzip
import subprocess
import sys
import zlib
from contextlib import suppress

import lz4.frame
import pytest
import snappy
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.kafka_codec import CHUNK, TooLargeError, decompress

MIB = 1 << 20

REFUSALS = (TooLargeError, ValueError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError, snappy.UncompressError)


def xerial(data: bytes) -> bytes:
    block = snappy.compress(data)
    return b"\x82SNAPPY\x00\0\0\0\1\0\0\0\1" + len(block).to_bytes(4, "big") + block


WRITERS = {
    "gzip": (1, gzip.compress),
    "snappy": (2, snappy.compress),
    "snappy in blocks": (2, xerial),
    "lz4": (3, lz4.frame.compress),
    "zstd": (4, zstandard.ZstdCompressor().compress),
}
each_codec = pytest.mark.parametrize("name", WRITERS)


@each_codec
@given(data=st.one_of(st.binary(min_size=1, max_size=300), st.integers(1, 3 * CHUNK).map(lambda size: b"ab" * size)))
def test_what_fits_the_limit_comes_out_as_it_went_in(name: str, data: bytes) -> None:
    codec, compress = WRITERS[name]
    assert decompress(codec, compress(data), len(data)) == data


@each_codec
def test_one_byte_more_than_the_limit_is_refused(name: str) -> None:
    codec, compress = WRITERS[name]
    with pytest.raises(TooLargeError):
        decompress(codec, compress(b"a" * (MIB + 1)), MIB)


@pytest.mark.parametrize("name", ["gzip", "lz4", "zstd"])
def test_several_frames_are_one_batch(name: str) -> None:
    codec, compress = WRITERS[name]
    assert decompress(codec, compress(b"one") + compress(b"two"), 6) == b"onetwo"


@each_codec
@given(data=st.binary(max_size=100))
def test_no_bytes_can_make_it_hang_or_grow(name: str, data: bytes) -> None:
    codec, compress = WRITERS[name]
    for hostile in (data, compress(data)[:-1], compress(data) + data):
        with suppress(*REFUSALS):
            assert len(decompress(codec, hostile, 1000)) <= 1000


@pytest.mark.parametrize("codec", [0, 5, 7])
def test_an_unknown_codec_is_named(codec: int) -> None:
    with pytest.raises(ValueError, match=f"codec {codec}"):
        decompress(codec, b"x", 10)


_BOMB = """
import resource, sys, zlib, zstandard, lz4.frame, snappy
from longwatch.pipeline.kafka_codec import TooLargeError, decompress
bombs = []
zstd = zstandard.ZstdCompressor(level=1).compressobj()
writers = {1: zlib.compressobj(wbits=31), 3: lz4.frame.LZ4FrameCompressor(), 4: zstd}
zeros = bytes(1 << 20)
for codec, writer in writers.items():
    parts = [writer.begin()] if codec == 3 else []
    parts += [writer.compress(zeros) for _ in range(256)]
    bombs.append((codec, b"".join(parts) + writer.flush()))
bombs.append((2, b"\\xff\\xff\\xff\\xff\\x07" + b"\\xfe\\x01\\x00" * 1000))  # says 2 GiB, and means nothing
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for codec, bomb in bombs:
    try:
        decompress(codec, bomb, 8 << 20)
        sys.exit(f"codec {codec} was not refused")
    except TooLargeError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_bomb_costs_its_limit_in_memory_and_no_more() -> None:
    done = subprocess.run([sys.executable, "-c", _BOMB], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40
