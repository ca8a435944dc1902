"""Bytes of messages to leaves and their numbers: one pass over each message, compiled, without a Python object a row.

What may change is in this one file, because Numba's cache on disk looks at the file of the called function alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from longwatch.pipeline.compiled import compiled
from longwatch.pipeline.siphash import siphash13

# A leaf is cut here, so that one endless line can fill neither the table nor a model's lexicon. A multiple of 8.
LEAF_BYTES = 1024
SCRATCH_BYTES = LEAF_BYTES + 64

_DIGIT, _SLASH, _AT, _DOT, _SOLID, _VALUE, _SPACE, _SEPARATOR = (1 << bit for bit in range(8))
_WORD_ENDS = _SPACE | _SEPARATOR
_EQUALS, _COLON, _LESS, _STAR, _GREATER = (np.uint8(ord(sign)) for sign in "=:<*>")
_OPENING, _CLOSING, _BLANK = (np.uint8(ord(sign)) for sign in "() ")
_U, _S, _E, _R = (np.uint8(ord(sign)) for sign in "user")
_0, _1, _2, _3, _4, _5, _6, _7, _8 = map(np.uintp, range(9))
_LEAF_BYTES, _NONE = np.uintp(LEAF_BYTES), np.uintp(1 << 63)
_CONTINUATION = 0x80  # bytes 10xxxxxx go on with a character

# Behind a number these belong to it: amounts of data and time, and time zones. Seven letters at most.
UNITS = (
    b"B KB kB MB GB TB PB KiB MiB GiB TiB byte bytes Byte Bytes us ms msec msecs s sec secs second seconds minute "
    b"minutes hour hours day days UTC GMT EST EDT CST CDT MST MDT PST PDT CET CEST"
).split()

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]


class LeafArrays(NamedTuple):
    """An open-addressing table of leaves: `slots` hold number + 1, or 0; leaf n is `sizes[n]` bytes from word
    `starts[n]` of `arena`; `used` counts its leaves and words. `scratch` is one leaf, as bytes and as words.
    """

    slots: NDArray[np.int32]
    hashes: Words
    starts: NDArray[np.int64]
    sizes: NDArray[np.int32]
    arena: Words
    used: NDArray[np.int64]
    scratch: Bytes
    scratch_words: Words


def _classes() -> Bytes:
    """What each byte is to the tokeniser: `_SOLID` ends a run of wildcards, `_VALUE` may stand in a value."""
    table = np.full(256, _SOLID | _VALUE, np.uint8)
    for signs, bits in (
        (" \t\n\r\v\f", _SPACE),
        ("=:", _SEPARATOR | _VALUE),
        (",;", _SEPARATOR),
        ("()[]", _SEPARATOR | _SOLID),
        ("{}\"'<>|", _SEPARATOR | _SOLID | _VALUE),
        ("0123456789", _DIGIT | _SOLID | _VALUE),
        ("/", _SLASH | _VALUE),
        ("\\", _SLASH | _SOLID | _VALUE),
        ("@", _AT | _SOLID | _VALUE),
        (".", _DOT | _VALUE),
        ("-_", _VALUE),
    ):
        table[np.frombuffer(signs.encode(), np.uint8)] = bits
    return table


def _calendar() -> NDArray[np.bool_]:
    """Hash of three letters to whether they name a weekday or a month, as C's `%a` and `%b` write them."""
    names = b"Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    known = np.zeros(1 << 15, np.bool_)
    for name in names:
        first, second, third = (letter & 31 for letter in name)
        known[first << 10 | second << 5 | third] = True
    return known


_CLASS = _classes()
_CALENDAR = _calendar()
_UNIT_CODES = np.array([int.from_bytes(unit, "big") for unit in UNITS], np.uint64)


@compiled
def _is_path(data: Bytes, start: np.uintp, end: np.uintp) -> bool:
    """Whether slashes stand before two segments of a word."""
    found = 0
    while start + _1 < end:
        if _CLASS[data[start]] & _SLASH and not _CLASS[data[start + _1]] & _SLASH:
            found += 1
        start += _1
    return found >= 2


@compiled
def _is_calendar(data: Bytes, start: np.uintp) -> bool:
    """Whether three letters name a weekday or a month."""
    first, second, third = data[start], data[start + _1], data[start + _2]
    if first & 0xE0 != 0x40 or second & 0xE0 != 0x60 or third & 0xE0 != 0x60:
        return False
    return _CALENDAR[(first & 31) << 10 | (second & 31) << 5 | third & 31]


@compiled
def _varies(data: Bytes, start: np.uintp, end: np.uintp, bits: np.uint8) -> bool:
    """Whether a word is no constant text: it holds a digit, is a mail address, a path, a weekday or a month."""
    if bits & (_DIGIT | _AT | _SLASH):
        if bits & _DIGIT:
            return True
        return (bits & _AT != 0 and end - start > 2) or (bits & _SLASH != 0 and _is_path(data, start, end))
    return end - start == 3 and _is_calendar(data, start)


@compiled
def _is_unit(data: Bytes, start: np.uintp, end: np.uintp) -> bool:
    """Whether a word is one of `UNITS`."""
    if end - start > 7:
        return False
    code = np.uint64(0)
    while start < end:
        code = code << np.uint64(8) | np.uint64(data[start])
        start += _1
    for unit in _UNIT_CODES:
        if unit == code:
            return True
    return False


@compiled
def _is_user(data: Bytes, start: np.uintp) -> bool:
    """Whether four letters are `user`, which a name follows."""
    return data[start] == _U and data[start + _1] == _S and data[start + _2] == _E and data[start + _3] == _R


@compiled
def _closes_second(out: Bytes, size: np.uintp) -> bool:
    """Whether what is written ends in `<*> (<*>`."""
    if size < _8 or out[size - _1] != _GREATER or out[size - _2] != _STAR or out[size - _3] != _LESS:
        return False
    if out[size - _4] != _OPENING or out[size - _5] != _BLANK:
        return False
    return out[size - _6] == _GREATER and out[size - _7] == _STAR and out[size - _8] == _LESS


@compiled
def write_leaf(data: Bytes, start: int, stop: int, out: Bytes) -> int:
    """Writes the leaf of `data[start:stop]` to `out` [SCRATCH_BYTES]; gives its length, at most `LEAF_BYTES`.

    Words that vary and values after `=` become `<*>`, runs of it one, a host in front of a masked port goes with it,
    `<*> (<*>)` is `<*>`, white space is one blank. Indices are unsigned: Numba looks whether signed ones are negative.
    """
    at, end = np.uintp(start), np.uintp(stop)
    size = _0  # of what is written
    wild_end = _NONE  # where the last wildcard ended, while only joining signs followed it
    host = _NONE  # where a word with a dot begins, while nothing but its colon followed it
    before_host = _NONE  # `wild_end` there
    user_end = _NONE  # where the last `user` ended
    while at < end and size < _LEAF_BYTES:
        sign = data[at]
        bits = _CLASS[sign]
        wild = False
        if not bits & _WORD_ENDS:
            word, copied = at, size
            room = min(end, at + (_LEAF_BYTES + _4 - size))
            while at < room:
                sign = data[at]
                if _CLASS[sign] & _WORD_ENDS:
                    break
                bits |= _CLASS[sign]
                out[copied] = sign
                copied += _1
                at += _1
            while at < end and not _CLASS[data[at]] & _WORD_ENDS:
                bits |= _CLASS[data[at]]
                at += _1
            wild = _varies(data, word, at, bits)
            if not wild and size == wild_end + _1 and out[wild_end] == _BLANK:
                wild = _is_unit(data, word, at)
            elif not wild and size == user_end + _1 and out[user_end] == _BLANK:
                wild = bits & _SOLID != 0
            if not wild:
                host = size if bits & _DOT and bits & _SOLID else _NONE
                before_host = wild_end
                wild_end = _NONE if bits & _SOLID else wild_end
                size = copied
                if at - word == 4 and _is_user(data, word):
                    user_end = size
        elif bits & _SPACE:
            if size > _0 and out[size - _1] != _BLANK:
                out[size] = _BLANK
                size += _1
            host = _NONE
            at += _1
        elif sign == _LESS and at + _2 < end and data[at + _1] == _STAR and data[at + _2] == _GREATER:
            wild = True
            at += _3
        elif sign == _CLOSING and size > _1 and out[size - _1] == _OPENING and out[size - _2] == _BLANK:
            wild = True  # ` ()` is a value that is not there, `f()` is not; the bracket itself comes next
        elif sign == _CLOSING and _closes_second(out, size):
            size -= _5
            wild_end = size
            at += _1
        else:
            out[size] = sign
            size += _1
            at += _1
            wild_end = _NONE if bits & _SOLID else wild_end
            host = host if sign == _COLON else _NONE
            if sign == _EQUALS and at < end and _CLASS[data[at]] & _VALUE:
                wild = True
                while at < end and _CLASS[data[at]] & _VALUE:
                    at += _1
        if wild:
            if host != _NONE and out[size - _1] == _COLON:
                size, wild_end = host, before_host
            if wild_end != _NONE:
                size = wild_end
            else:
                out[size], out[size + _1], out[size + _2] = _LESS, _STAR, _GREATER
                size += _3
                wild_end = size
            host = _NONE
    out[size] = 0
    if size > _LEAF_BYTES:
        size = _LEAF_BYTES
        while out[size] & 0xC0 == _CONTINUATION:
            size -= _1
    while size > _0 and out[size - _1] == _BLANK:
        size -= _1
    return np.int64(size)


@compiled
def _same(left: Words, left_start: int, right: Words, words: int) -> bool:
    for at in range(words):
        if left[left_start + at] != right[at]:
            return False
    return True


@compiled
def number_leaves(
    data: Bytes, ends: NDArray[np.int64], first: int, numbers: NDArray[np.uint32], table: LeafArrays, key: Words
) -> int:
    """Writes the number of each message's leaf to `numbers`, from row `first` on; gives the row where it was full.

    Message i is `data[ends[i - 1]:ends[i]]`. A leaf that the table lacks gets its next number, first come first.
    """
    slots, hashes, starts, sizes, arena, used, scratch, scratch_words = table
    mask = len(slots) - 1
    for row in range(first, len(ends)):
        size = write_leaf(data, ends[row - 1] if row else 0, ends[row], scratch)
        for at in range(size, (size | 7) + 1):
            scratch[at] = 0
        found = siphash13(scratch_words, size, key)
        words = (size >> 3) + 1
        slot = np.int64(found & np.uint64(mask))
        while slots[slot] != 0:
            number = slots[slot] - 1
            if hashes[number] == found and sizes[number] == size and _same(arena, starts[number], scratch_words, words):
                break
            slot = slot + 1 & mask
        if slots[slot] == 0:
            number = used[0]
            if number == len(hashes) or used[1] + words > len(arena):
                return row
            arena[used[1] : used[1] + words] = scratch_words[:words]
            hashes[number], starts[number], sizes[number] = found, used[1], size
            slots[slot] = number + 1
            used[0] += 1
            used[1] += words
        numbers[row] = number
    return len(ends)
