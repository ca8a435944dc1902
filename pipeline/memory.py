"""How the process gives memory back."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # names of mallopt(3)


def give_memory_back() -> None:
    """Have large buffers leave the process once they are freed; does nothing where the C library is not glibc.

    By default glibc takes buffers of up to 32 MiB from its heaps once one of that size was freed, and keeps them there.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for option, value in ((_MMAP_THRESHOLD, 1 << 20), (_TRIM_THRESHOLD, 1 << 20), (_ARENA_MAX, 2)):
        mallopt(option, value)
