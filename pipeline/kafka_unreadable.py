"""How far a broken record batch reaches, found by asking: which later offset can be read again?"""

from collections.abc import Callable


def end_of_fault(fault_at: Callable[[int], str | None], first: int, end: int) -> int:
    """The first offset in (first, end] where the fault at `first` is gone.

    `fault_at(offset)` reads there and names what is wrong, None when nothing is; one batch gives one name at each of
    its offsets. Asks about 2 log2(end - first) times. Raises ValueError when nothing is wrong at `first`.
    """
    fault = fault_at(first)
    if fault is None:
        raise ValueError(f"offset {first} can be read")
    low, high = _bracket(fault_at, fault, first, end)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fault_at(middle) == fault else (low, middle)
    return high


def _bracket(fault_at: Callable[[int], str | None], fault: str, first: int, end: int) -> tuple[int, int]:
    low, step = first, 1
    while first + step < end and fault_at(first + step) == fault:
        low, step = first + step, step * 2
    return low, max(first + 1, min(first + step, end))
