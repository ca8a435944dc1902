"""Gathered records keep their order in their partition, and are due by number or by age."""

from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.gathering import MOST_BYTES, Gathering
from longwatch.pipeline.records import Partition, RecordBatch
from support.demo import as_records

ONE, TWO = (Partition("logs", "uuid", number) for number in (0, 1))


def batch(partition: Partition, first: int, count: int) -> RecordBatch:
    return RecordBatch(partition, as_records([b"x"] * count, first), first + count)


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.integers(1, 5)), max_size=12))
def test_a_partition_gets_one_batch_with_its_records_in_order(polls):
    gathering, given_ = Gathering(1000, 1.0), {ONE: 0, TWO: 0}
    for partition, count in polls:
        gathering.add([batch(partition, given_[partition], count)], 0.0)
        given_[partition] += count
    assert gathering.num_records == sum(given_.values())
    taken = gathering.take()
    assert [each.partition for each in taken] == [each for each in (ONE, TWO) if given_[each]]
    for each in taken:
        assert each.frame["offset"].to_list() == list(range(given_[each.partition]))
        assert each.next_offset == given_[each.partition]
    assert gathering.take() == []


def test_records_are_due_when_there_are_enough_or_the_oldest_has_waited():
    gathering = Gathering(10, 0.5)
    gathering.add([batch(ONE, 0, 4)], 100.0)
    gathering.add([batch(TWO, 0, 5)], 100.25)
    assert gathering.left_ms(100.25) == 250
    assert gathering.left_ms(100.75) == 0
    gathering.add([batch(TWO, 5, 1)], 100.25)
    assert gathering.left_ms(100.25) == 0


def test_few_large_records_do_not_wait():
    gathering = Gathering(1000, 10.0)
    large = as_records([b"x" * (MOST_BYTES // 2), None])
    gathering.add([RecordBatch(ONE, large, 2)], 0.0)
    assert gathering.left_ms(0.0) == 10_000
    gathering.add([RecordBatch(TWO, large, 2)], 0.0)
    assert gathering.left_ms(0.0) == 0
    gathering.take()
    gathering.add([batch(ONE, 2, 1)], 0.0)
    assert gathering.left_ms(0.0) == 10_000


def test_the_wait_begins_anew_with_the_first_record_after_a_take():
    gathering = Gathering(10, 0.5)
    gathering.add([batch(ONE, 0, 4)], 100.0)
    gathering.take()
    gathering.add([batch(ONE, 4, 1)], 200.0)
    assert gathering.left_ms(200.25) == 250


def test_records_of_partitions_that_went_are_forgotten():
    gathering = Gathering(10, 1.0)
    gathering.add([batch(ONE, 0, 4), batch(TWO, 0, 3)], 0.0)
    gathering.drop([ONE])
    assert gathering.num_records == 3
    (left,) = gathering.take()
    assert left.partition == TWO
