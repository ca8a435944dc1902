"""The end of a broken batch is found exactly, in few reads."""

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.kafka_unreadable import end_of_fault

batches = st.lists(st.tuples(st.integers(1, 5_000), st.booleans()), min_size=1, max_size=8)


@given(batches=batches, base=st.integers(0, 10**12), data=st.data())
def test_it_ends_where_the_batch_ends_and_asks_logarithmically_often(batches, base, data) -> None:
    starts = [base]
    for length, _ in batches:
        starts.append(starts[-1] + length)
    broken = [number for number, (_, good) in enumerate(batches) if not good]
    asked: list[int] = []

    def fault_at(offset: int) -> str | None:
        asked.append(offset)
        number = bisect.bisect_right(starts, offset) - 1
        return f"batch at {starts[number]}" if number in broken else None

    if not broken:
        with pytest.raises(ValueError, match="can be read"):
            end_of_fault(fault_at, base, starts[-1])
        return
    number = data.draw(st.sampled_from(broken))
    first = data.draw(st.integers(starts[number], starts[number + 1] - 1))
    assert end_of_fault(fault_at, first, starts[-1]) == starts[number + 1]
    assert len(asked) <= 2 * (starts[-1] - first).bit_length() + 2
    assert max(asked) < starts[-1]


def test_it_moves_at_least_one_offset_when_the_log_ends_there() -> None:
    assert end_of_fault(lambda _: "broken", 7, 7) == 8
