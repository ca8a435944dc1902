"""Whether a zstd file is whole: the decompressor takes a file that was cut off for one that has ended."""

import os
from typing import BinaryIO

_FRAME = 0xFD2FB528
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_RUN_BLOCK = 1


def is_whole(file: BinaryIO) -> bool:
    """Walks from frame to frame by their sizes, decompressing nothing; moves the file's position."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    while file.tell() < size:
        if not _skip_frame(file):
            return False
    return file.tell() == size


def _skip_frame(file: BinaryIO) -> bool:
    magic = _number(file, 4)
    if magic in _SKIPPABLE:
        file.seek(_number(file, 4), os.SEEK_CUR)
        return True
    if magic != _FRAME:
        return False
    descriptor = _number(file, 1)
    file.seek(_header_bytes(descriptor), os.SEEK_CUR)
    if not _skip_blocks(file):
        return False
    file.seek(4 if descriptor & 4 else 0, os.SEEK_CUR)
    return True


def _header_bytes(descriptor: int) -> int:
    """Bytes between a frame's descriptor and its first block: window, dictionary id and content size."""
    single_segment = descriptor >> 5 & 1
    return 1 - single_segment + (0, 1, 2, 4)[descriptor & 3] + (single_segment, 2, 4, 8)[descriptor >> 6]


def _skip_blocks(file: BinaryIO) -> bool:
    while header := file.read(3):
        if len(header) < 3:
            return False
        bits = int.from_bytes(header, "little")
        file.seek(1 if bits >> 1 & 3 == _RUN_BLOCK else bits >> 3, os.SEEK_CUR)
        if bits & 1:
            return True
    return False


def _number(file: BinaryIO, size: int) -> int:
    return int.from_bytes(file.read(size), "little")
