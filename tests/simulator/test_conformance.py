"""The simulated cluster answers as Apache Kafka does: the same scripts, on both, through the product's own classes."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from longwatch.pipeline.errors import FencedError
from longwatch.pipeline.kafka_errors import CommitAbortedError
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_settings import Committed, KafkaSettings, Output
from simulator.bench import Bench, KafkaBench, Member, SimulatedBench

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["simulated", pytest.param("kafka", marks=pytest.mark.broker)])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "simulated":
        return SimulatedBench()
    return KafkaBench(request.getfixturevalue("kafka"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def member(bench: Bench, stack: ExitStack, settings: KafkaSettings | None = None) -> Member:
    opened = Member(bench, settings or bench.settings)
    stack.callback(opened.source.close)
    return opened


def writer(bench: Bench, stack: ExitStack, transactional_id: str) -> TransactionalProducer:
    name = f"{bench.settings.group_id}-{transactional_id}"
    opened = TransactionalProducer(bench.settings, name, port=bench.port())
    stack.callback(opened.close)
    return opened


def open_transaction(bench: Bench, stack: ExitStack, transactional_id: str, value: bytes):
    """A client that has written one record and then stands still."""
    client = bench.port().open_producer(bench.settings, f"{bench.settings.group_id}-{transactional_id}")
    stack.callback(client.close)
    client.init_transactions()
    client.begin_transaction()
    sent = client.send(bench.topic, value, b"k", [], 0)
    client.flush()
    sent.get(timeout=0)
    return client


def output(bench: Bench, value: bytes) -> Output:
    return Output(bench.topic, b"k", value, partition=0)


def test_markers_take_offsets_and_aborted_records_are_not_given(bench, stack):
    reader, first = member(bench, stack), writer(bench, stack, "a")
    first.commit([output(bench, b"one")], {}, None)
    open_transaction(bench, stack, "b", b"aborted").abort_transaction()
    first.commit([output(bench, b"two")], {}, None)
    assert reader.reach(lambda: len(reader.records) == 2)
    assert reader.records == [(0, 0, b"one"), (0, 4, b"two")]
    assert reader.source.end_offset(reader.partition(0)) == reader.source.position(reader.partition(0)) == 6


def test_an_open_transaction_holds_readers_until_its_id_is_opened_again(bench, stack):
    reader = member(bench, stack)
    assert reader.reach(lambda: len(reader.assigned) == 2)
    open_transaction(bench, stack, "a", b"left open")
    bench.produce(0, b"behind it")
    assert reader.source.end_offset(reader.partition(0)) == 0
    writer(bench, stack, "a")
    assert reader.reach(lambda: reader.records)
    assert reader.records == [(0, 1, b"behind it")]


def test_an_earlier_epoch_is_fenced_wherever_it_stands(bench, stack):
    client = open_transaction(bench, stack, "a", b"zombie's")
    second = writer(bench, stack, "a")
    with pytest.raises(Exception, match=r"Fenced|Epoch"):
        client.commit_transaction()
    third = writer(bench, stack, "a")
    with pytest.raises(FencedError):
        second.commit([output(bench, b"zombie's")], {}, None)
    third.commit([output(bench, b"alive")], {}, None)
    reader = member(bench, stack)
    assert reader.reach(lambda: reader.records)
    assert [value for _, _, value in reader.records] == [b"alive"]


def test_offsets_of_an_aborted_transaction_never_were(bench, stack):
    reader, first = member(bench, stack), writer(bench, stack, "a")
    assert reader.reach(lambda: len(reader.assigned) == 2)
    partition = reader.partition(0)
    first.commit([], {partition: (3, "kept")}, reader.source.group_metadata())
    stale = reader.source.group_metadata()._replace(generation_id=99)
    with pytest.raises(CommitAbortedError):
        first.commit([output(bench, b"with it")], {partition: (5, "refused")}, stale)
    assert reader.source.committed(partition) == Committed(3, "kept")
    first.commit([], {partition: (4, "next")}, reader.source.group_metadata())
    assert reader.source.committed(partition) == Committed(4, "next")


def test_a_partition_is_handed_on_after_its_owner_has_committed(bench, stack):
    first, producer = member(bench, stack), writer(bench, stack, "a")
    assert first.reach(lambda: len(first.assigned) == 2)
    both = sorted(first.source.assignment())
    first.on_revoked = lambda: producer.commit([], dict.fromkeys(both, (7, "by first")), first.source.group_metadata())
    second = member(bench, stack)
    assert first.reach(lambda: second.assigned, second)
    assert (first.revoked, first.lost) == (list(second.assigned), [])
    assert list(second.assigned.values()) == [Committed(7, "by first")]
    assert len(first.source.assignment()) == len(second.source.assignment()) == 1


def test_a_membership_from_before_a_rebalance_commits_nothing(bench, stack):
    first, producer = member(bench, stack), writer(bench, stack, "a")
    assert first.reach(lambda: len(first.assigned) == 2)
    before, partition = first.source.group_metadata(), first.partition(0)
    second = member(bench, stack)
    assert first.reach(lambda: second.assigned, second)
    with pytest.raises(CommitAbortedError):
        producer.commit([], {partition: (1, "stale")}, before)
    assert first.source.committed(partition) is None


def static(bench: Bench, instance: str) -> KafkaSettings:
    return replace(bench.settings, instance_id=instance)


def generation(each: Member) -> int:
    return int(each.source.group_metadata().generation_id)


def test_a_static_member_comes_back_to_its_partitions_without_a_round(bench, stack):
    other = member(bench, stack, static(bench, "b"))
    first = Member(bench, static(bench, "a"))
    assert other.reach(lambda: first.assigned and len(other.source.assignment()) == 1, first)
    assert other.reach(lambda: generation(other) == generation(first) and stable(other) and stable(first), first)
    kept, before = first.source.assignment(), generation(other)
    first.source.close()
    again = member(bench, stack, static(bench, "a"))
    assert other.reach(lambda: again.assigned, again)
    assert (again.source.assignment(), generation(other)) == (kept, before)


def stable(each: Member) -> bool:
    return str(each.source.group_metadata().state) == "<stable>"


def test_a_second_process_under_one_instance_id_fences_the_first(bench, stack):
    first = member(bench, stack, static(bench, "a"))
    assert first.reach(lambda: first.assigned)
    second = member(bench, stack, static(bench, "a"))
    with pytest.raises(FencedError):
        first.reach(lambda: False, second)


def test_a_position_before_the_log_is_reported_and_moved_into_it(bench, stack):
    for number in range(4):
        bench.produce(0, b"%d" % number)
    reader = member(bench, stack)
    assert reader.reach(lambda: len(reader.records) == 4)
    bench.retain(0, 2)
    reader.source.seek(reader.partition(0), 1)
    assert reader.reach(lambda: len(reader.records) == 6)
    assert reader.truncated == [(0, 1, 2)]


def replaced_between_rounds(bench, stack) -> tuple[Member, Member]:
    """`a` had both partitions, let one go for `b`, and died before the round that would have handed it on."""
    first = Member(bench, static(bench, "a"))
    assert first.reach(lambda: len(first.assigned) == 2)
    second = member(bench, stack, static(bench, "b"))
    assert first.reach(lambda: first.revoked, second)
    first.source.close()
    return member(bench, stack, static(bench, "a")), second


def test_a_place_taken_over_between_the_rounds_of_a_hand_over_leaves_a_partition_without_an_owner(bench, stack):
    """What Kafka does if nobody asks for another round: its members are settled, and one partition is not read."""
    again, second = replaced_between_rounds(bench, stack)
    again.source._looks_for_orphans = False
    assert second.reach(lambda: again.assigned, again)
    assert not second.reach(lambda: owners(again, second) == 2, again)


def test_a_static_member_has_the_partitions_assigned_that_its_forerunner_let_go(bench, stack):
    again, second = replaced_between_rounds(bench, stack)
    assert second.reach(lambda: owners(again, second) == 2, again)


def owners(*members: Member) -> int:
    return len(frozenset().union(*(each.source.assignment() for each in members)))
