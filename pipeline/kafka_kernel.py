"""Records of a version 2 batch to columns: one pass over its bytes, compiled, without a Python object a record.

It takes what is in order and nothing else: at anything odd it gives up, and the records are read one by one by the
client library's rules, which say what is wrong.
"""

import numpy as np
from numpy.typing import NDArray

from longwatch.pipeline.compiled import compiled

MAX_HEADERS = 10_000
LEAST_RECORD_BYTES = 7
FIELDS = 6
OFFSET, TIMESTAMP, KEY_AT, KEY_SIZE, VALUE_AT, VALUE_SIZE = range(FIELDS)
"""Rows of the columns: sizes are -1 for null."""

_VARINT_BYTES = 9  # the library reads ten; nobody writes more than nine, and nine fit into 63 bits
_FAR = 1 << 62


@compiled
def _varint(content: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """A zigzag number and where the next thing begins; -1 where none ends in time."""
    value, stop = np.int64(0), min(len(content), at + _VARINT_BYTES)
    for place in range(at, stop):
        byte = np.int64(content[place])
        value |= (byte & 0x7F) << (7 * (place - at))
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), place + 1
    return 0, -1


@compiled
def _bytes(content: NDArray[np.uint8], at: int) -> tuple[int, int, int]:
    """Where a nullable run of bytes begins, its size (-1 for null), and what is behind it; -1 where it does not fit."""
    size, at = _varint(content, at)
    if at < 0 or size > len(content) - at:
        return 0, 0, -1
    if size < 0:
        return at, -1, at
    return at, size, at + size


@compiled
def _headers(content: NDArray[np.uint8], at: int) -> int:
    """What is behind the headers; -1 for too many of them and for a name that is not plain ASCII."""
    count, at = _varint(content, at)
    if count < 0 or count > MAX_HEADERS:
        return -1
    for _ in range(count):
        if at < 0:
            return -1
        name, size, at = _bytes(content, at)
        if at < 0 or size < 0:
            return -1
        for place in range(name, name + size):
            if content[place] >= 0x80:
                return -1
        _, _, at = _bytes(content, at)
    return at


@compiled
def _record(content: NDArray[np.uint8], at: int, row: int, columns: NDArray[np.int64]) -> int:
    """Read one record into a row, its time and offset as differences; gives what is behind it, -1 where it is odd."""
    length, at = _varint(content, at)
    if at < 0 or length < 0 or length > len(content) - at:
        return -1
    end = at + length
    _, at = _varint(content, at)
    if at >= 0:
        columns[TIMESTAMP, row], at = _varint(content, at)
    if at >= 0:
        columns[OFFSET, row], at = _varint(content, at)
    if at >= 0:
        columns[KEY_AT, row], columns[KEY_SIZE, row], at = _bytes(content, at)
    if at >= 0:
        columns[VALUE_AT, row], columns[VALUE_SIZE, row], at = _bytes(content, at)
    if at >= 0:
        at = _headers(content, at)
    return at if at == end else -1


@compiled
def read_records(
    content: NDArray[np.uint8],
    at: int,
    base: NDArray[np.int64],
    last_delta: int,
    fixed_time: bool,
    columns: NDArray[np.int64],
) -> bool:
    """Fill `columns` [FIELDS, n] with the n records that begin at `at` and end with the content; False where odd.

    `base` is the first offset and timestamp. Offsets rise, up to `last_delta`; in a whole batch (n offsets) none is
    left out. `fixed_time` gives every record the first timestamp.
    """
    count, free = columns.shape[1], np.int64(0)
    whole = count == last_delta + 1
    far = abs(base[1]) >= _FAR
    for row in range(count):
        at = _record(content, at, row, columns)
        offset = columns[OFFSET, row]
        if at < 0 or far or offset < free or offset > (free if whole else last_delta):
            return False
        free = offset + 1
        columns[OFFSET, row] = base[0] + offset
        columns[TIMESTAMP, row] = base[1] + (0 if fixed_time else columns[TIMESTAMP, row])
    return at == len(content)


def compile_reader() -> None:
    """Compile where nothing is in the cache yet: at the start, not while records wait."""
    read_records(np.frombuffer(b"", np.uint8), 0, np.zeros(2, np.int64), 0, False, np.empty((FIELDS, 0), np.int64))
