"""The Kafka objects against a real broker."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from longwatch.pipeline.errors import BrokerRefusedError, FencedError, StateError
from longwatch.pipeline.kafka_errors import (
    BrokerUnreachableError,
    CommitAbortedError,
    OutputTooLargeError,
    RangeLostError,
    TopicMissingError,
    TopicRecreatedError,
)
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_range import Bound, KafkaRange
from longwatch.pipeline.kafka_settings import Committed, KafkaSettings, Output, Truncated, Unreadable
from longwatch.pipeline.kafka_topics import create_missing_topics, describe_topic
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources.kafka import KafkaSource
from longwatch.pipeline.steps import Observer, Step, unobserved
from support.kafka_broker import KafkaForTests

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]


class Member:
    """A source and everything it said."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.assigned: dict[Partition, Committed | None] = {}
        self.revoked: list[Partition] = []
        self.lost: list[Partition] = []
        self.truncated: list[Truncated] = []
        self.unreadable: list[Unreadable] = []
        self.records: list[tuple[int, bytes | None, bytes | None, int]] = []
        self.positions: dict[Partition, int] = {}
        self.on_revoked: Callable[[], None] = lambda: None
        self.source = KafkaSource(
            settings,
            topic,
            self.assigned.update,
            self._revoked,
            self.lost.extend,
            self.truncated.append,
            self.unreadable.append,
        )

    def _revoked(self, partitions: tuple[Partition, ...]) -> None:
        self.revoked.extend(partitions)
        self.on_revoked()

    def poll(self) -> list[RecordBatch]:
        batches = self.source.poll(100)
        for batch in batches:
            self.positions[batch.partition] = batch.next_offset
            columns = batch.frame.select("offset", "key", "value", "timestamp_ms")
            self.records.extend(columns.iter_rows())
        return batches

    def until(self, condition: Callable[[], object], *others: "Member") -> None:
        deadline = time.monotonic() + 25
        while not condition():
            assert time.monotonic() < deadline, "not reached in time"
            for member in (self, *others):
                member.poll()

    def values(self) -> list[bytes | None]:
        return [value for _, _, value, _ in self.records]


@pytest.fixture
def settings(kafka: KafkaForTests) -> KafkaSettings:
    return KafkaSettings(
        (kafka.bootstrap_servers,),
        columns=True,
        group_id=kafka.name("group"),
        session_timeout_ms=6_000,
        heartbeat_interval_ms=200,
        call_deadline_seconds=30,
    )


@contextmanager
def member(settings: KafkaSettings, topic: str) -> Iterator[Member]:
    opened = Member(settings, topic)
    try:
        yield opened
    finally:
        opened.source.close()


@contextmanager
def producer(
    settings: KafkaSettings, transactional_id: str, observe: Observer = unobserved
) -> Iterator[TransactionalProducer]:
    opened = TransactionalProducer(settings, transactional_id, observe=observe)
    try:
        yield opened
    finally:
        opened.close()


def messages(count: int, start: int = 0) -> list[tuple[bytes, bytes, int]]:
    return [(b"k", f"line {number}".encode(), 1_000 + number) for number in range(start, start + count)]


def values(kafka: KafkaForTests, topic: str) -> list[bytes | None]:
    return [record.value for record in kafka.read(topic)]


def test_bytes_keys_nulls_and_timestamps_arrive_as_they_were_sent(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    sent = [(b"k", b"\xff\x00line", 1_700_000_000_000), (None, b"", 5), (b"", None, 7), (b"k", b"x" * 100_000, 9)]
    kafka.produce(topic, sent)
    with member(settings, topic) as reader:
        reader.until(lambda: len(reader.records) == len(sent))
        assert reader.records == [(offset, key, value, at) for offset, (key, value, at) in enumerate(sent)]
        assert reader.assigned == {Partition(topic, describe_topic(settings, topic).topic_id, 0): None}


def test_a_group_without_a_commit_starts_where_the_settings_say(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(3))
    with member(replace(settings, start="latest"), topic) as reader:
        reader.until(lambda: reader.assigned)
        kafka.produce(topic, messages(1, start=3))
        reader.until(lambda: reader.records)
        assert reader.values() == [b"line 3"]


def test_outputs_offsets_and_metadata_become_visible_together(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    topic, alerts = kafka.create_topic(), kafka.create_topic()
    kafka.produce(topic, messages(4))
    seen: dict[Step, tuple[list[bytes | None], Committed | None]] = {}
    with member(settings, topic) as reader, member(replace(settings, group_id=kafka.name("other")), alerts) as other:
        reader.until(lambda: len(reader.records) == 4)
        (partition,) = reader.assigned

        def passed(step: Step) -> None:
            if step is not Step.OFFSETS_SENT:
                seen[step] = (values(kafka, alerts), reader.source.committed(partition))

        with producer(settings, kafka.name("txn"), passed) as writer:
            outputs = [Output(alerts, b"e", b"one", [("h", b"1")]), Output(alerts, None, b"two")]
            writer.commit(outputs, {partition: (3, '{"v":1}')}, reader.source.group_metadata())
        other.until(lambda: len(other.records) == 2)
        headers = [record.headers for record in kafka.read(alerts)]
    assert seen[Step.BEGUN] == seen[Step.FLUSHED] == ([], None)
    assert seen[Step.COMMITTED] == ([b"one", b"two"], Committed(3, '{"v":1}'))
    assert headers == [[("h", b"1")], []]
    assert other.values() == [b"one", b"two"]


def test_the_next_member_gets_the_committed_offset_and_metadata_and_may_seek_before_it(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(5))
    with member(settings, topic) as first, producer(settings, kafka.name("txn")) as writer:
        first.until(lambda: len(first.records) == 5)
        (partition,) = first.assigned
        writer.commit([], {partition: (4, "m")}, first.source.group_metadata())
    with member(settings, topic) as second:
        second.until(lambda: second.records)
        assert (second.assigned, second.values()) == ({partition: Committed(4, "m")}, [b"line 4"])
        second.source.seek(partition, 2)
        second.until(lambda: len(second.records) == 4)
        assert second.values() == [b"line 4", b"line 2", b"line 3", b"line 4"]


@pytest.mark.parametrize("point", [Step.BEGUN, Step.PRODUCED, Step.FLUSHED, Step.OFFSETS_SENT])
def test_what_was_not_committed_is_never_visible_and_does_not_block_the_next_worker(
    kafka: KafkaForTests, settings: KafkaSettings, point: Step
) -> None:
    topic, alerts = kafka.create_topic(), kafka.create_topic()
    kafka.produce(topic, messages(2))
    transactional_id = kafka.name("txn")

    class Crash(BaseException):
        """Ends the commit where a killed process would, without the client's own abort."""

    def crash(reached: Step) -> None:
        if reached is point:
            raise Crash

    with member(settings, topic) as reader:
        reader.until(lambda: len(reader.records) == 2)
        (partition,) = reader.assigned
        membership = reader.source.group_metadata()
        dead = TransactionalProducer(settings, transactional_id, observe=crash)
        with pytest.raises(Crash):
            dead.commit([Output(alerts, b"k", b"dead")], {partition: (2, "dead")}, membership)
        with producer(settings, transactional_id) as alive:
            alive.commit([Output(alerts, b"k", b"alive")], {partition: (1, "alive")}, membership)
        assert values(kafka, alerts) == [b"alive"]
        assert reader.source.committed(partition) == Committed(1, "alive")
        dead.close()


def test_a_zombie_with_the_same_transactional_id_is_fenced(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    alerts, transactional_id = kafka.create_topic(), kafka.name("txn")
    with producer(settings, transactional_id) as zombie:
        zombie.commit([Output(alerts, b"k", b"before")], {}, None)
        with producer(settings, transactional_id) as alive:
            alive.commit([Output(alerts, b"k", b"alive")], {}, None)
            with pytest.raises(FencedError, match=transactional_id) as raised:
                zombie.commit([Output(alerts, b"k", b"zombie")], {}, None)
            alive.commit([Output(alerts, b"k", b"still alive")], {}, None)
    assert raised.value.exit_code == 76
    assert values(kafka, alerts) == [b"before", b"alive", b"still alive"]


def test_a_commit_under_an_old_generation_is_aborted_and_the_producer_goes_on(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic, alerts = kafka.create_topic(2), kafka.create_topic()
    with member(settings, topic) as first, producer(settings, kafka.name("txn")) as writer:
        first.until(lambda: len(first.assigned) == 2)
        old = first.source.group_metadata()
        partition = min(first.assigned)
        with member(settings, topic) as second:
            first.until(lambda: second.assigned, second)
            with pytest.raises(CommitAbortedError) as raised:
                writer.commit([Output(alerts, b"k", b"stale")], {partition: (0, "")}, old)
            writer.commit([Output(alerts, b"k", b"fresh")], {}, first.source.group_metadata())
    assert raised.value.retriable
    assert values(kafka, alerts) == [b"fresh"]


def test_offsets_are_not_committed_for_one_who_is_no_member(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    topic = kafka.create_topic()
    outsider = KafkaSource(settings, topic, *[lambda _: None] * 5)
    partition = Partition(topic, "", 0)
    with producer(settings, kafka.name("txn")) as writer, pytest.raises(CommitAbortedError, match="not a member"):
        writer.commit([], {partition: (1, "")}, outsider.group_metadata())
    assert outsider.committed(partition) is None
    outsider.close()


def test_a_second_member_takes_partitions_over_after_the_first_has_committed_them(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic(2)
    for number in range(2):
        kafka.produce(topic, messages(10, start=10 * number), number)
    with member(settings, topic) as first, producer(settings, kafka.name("txn")) as writer:

        def commit_all() -> None:
            offsets = {each: (at, "by first") for each, at in first.positions.items()}
            writer.commit([], offsets, first.source.group_metadata())

        first.on_revoked = commit_all
        first.until(lambda: len(first.records) == 20)
        with member(settings, topic) as second:
            first.until(lambda: second.assigned, second)
            assert first.revoked == list(second.assigned)
            assert list(second.assigned.values()) == [Committed(10, "by first")]
            assert first.source.assignment() == first.positions.keys() - second.assigned.keys()
            assert second.records == []
            assert first.lost == []
        first.until(lambda: len(first.source.assignment()) == 2)
    assert len(first.records) == 20


def test_a_member_that_was_thrown_out_is_told_that_its_partitions_are_lost(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(1))
    with member(replace(settings, client={"max_poll_interval_ms": 700}), topic) as reader:
        reader.until(lambda: reader.records)
        (partition,) = reader.assigned
        threading.Event().wait(1.5)
        reader.until(lambda: reader.lost)
        assert reader.lost == [partition]
        reader.until(lambda: len(reader.records) == 2)
        assert reader.revoked == []


def settled(*members: Member) -> bool:
    groups = [each.source.group_metadata() for each in members]
    return len({(group.generation_id, group.state) for group in groups}) == 1 and groups[0].state == "<stable>"


def test_a_static_member_that_restarts_keeps_its_partitions_without_a_rebalance(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic(2)
    with member(replace(settings, instance_id="b"), topic) as other:
        with member(replace(settings, instance_id="a"), topic) as first:
            other.until(lambda: first.assigned and settled(first, other), first)
            generation = other.source.group_metadata().generation_id
            kept = first.source.assignment()
        with member(replace(settings, instance_id="a"), topic) as again:
            other.until(lambda: again.assigned, again)
            assert again.source.assignment() == kept
            assert other.source.group_metadata().generation_id == generation


def test_members_that_work_between_their_polls_settle_in_few_rounds(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic(3)
    with member(settings, topic) as first, member(settings, topic) as second, member(settings, topic) as third:
        everyone = (first, second, third)
        first.until(
            lambda: settled(*everyone) and all(len(each.source.assignment()) == 1 for each in everyone), *everyone[1:]
        )
        # Joined one after the other: a round each, and one more to hand partitions on.
        assert first.source.group_metadata().generation_id <= 7


def test_a_second_process_under_one_instance_id_fences_the_first(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    topic = kafka.create_topic()
    static = replace(settings, instance_id="a")
    first = Member(static, topic)
    first.until(lambda: first.assigned)
    with member(static, topic) as second, pytest.raises(FencedError):
        first.until(lambda: False, second)
    first.source.close()


def test_a_topic_made_again_has_another_id_and_ends_who_still_reads_it(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(1))
    before = describe_topic(settings, topic).topic_id
    with member(replace(settings, client={"metadata_max_age_ms": 300}), topic) as reader:
        reader.until(lambda: reader.records)
        kafka.delete_topic(topic)
        kafka.create_topic(name=topic)
        with pytest.raises(TopicRecreatedError, match=before) as raised:
            reader.until(lambda: False)
    assert raised.value.exit_code == 75
    assert describe_topic(settings, topic).topic_id != before


def test_records_that_retention_took_are_reported_and_reading_goes_on_behind_them(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(10))
    delete_before(kafka, topic, 6)
    with member(settings, topic) as reader, producer(settings, kafka.name("txn")) as writer:
        reader.until(lambda: len(reader.records) == 4)
        (partition,) = reader.assigned
        assert (reader.truncated, reader.records[0][0]) == ([], 6)
        reader.source.seek(partition, 2)
        reader.until(lambda: len(reader.records) == 8)
        assert reader.truncated == [Truncated(partition, 2, 6, 10, 6)]
        assert (reader.source.log_start(partition), reader.source.end_offset(partition)) == (6, 10)
        writer.commit([], {partition: (25, "")}, reader.source.group_metadata())
    with member(settings, topic) as later:
        later.until(lambda: later.truncated)
        assert later.truncated == [Truncated(partition, 25, 6, 10, 10)]
        kafka.produce(topic, messages(1, start=10))
        later.until(lambda: later.records)
        assert later.values() == [b"line 10"]


def delete_before(kafka: KafkaForTests, topic: str, offset: int) -> None:
    from kafka import TopicPartition

    with kafka.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): offset})


def flip_a_bit(kafka: KafkaForTests, topic: str, text: bytes) -> None:
    (segment,) = Path(kafka.broker.data_dir).glob(f"log/{topic}-0/*.log")  # type: ignore[attr-defined]
    content = bytearray(segment.read_bytes())
    content[content.index(text)] ^= 1
    segment.write_bytes(content)


def test_a_batch_with_a_broken_checksum_is_stepped_over_once_and_its_neighbours_are_read(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic(2)
    for start, count in ((0, 3), (3, 40), (43, 1), (44, 2), (46, 3)):
        kafka.produce(topic, messages(count, start), linger_ms=200)
    kafka.produce(topic, messages(5, start=100), 1)
    flip_a_bit(kafka, topic, b"line 20")
    flip_a_bit(kafka, topic, b"line 44")
    with member(replace(settings, poll_records=2), topic) as reader:
        started = time.process_time()
        reader.until(lambda: len(reader.records) == 12)
        assert time.process_time() - started < 10
        broken = [(gap.partition.partition, gap.first, gap.next_offset) for gap in reader.unreadable]
        assert broken == [(0, 3, 43), (0, 44, 46)]
        assert "crc" in reader.unreadable[0].reason
        good = [*range(3), 43, *range(46, 49), *range(100, 105)]
        assert sorted(reader.values()) == sorted(f"line {number}".encode() for number in good)
    replay = KafkaRange(settings, topic)
    assert sum(batch.frame.height for batch in replay) == 12
    assert [(gap.first, gap.next_offset) for gap in replay.unreadable] == [(3, 43), (44, 46)]
    replay.close()


def test_a_paused_partition_gives_nothing_until_it_is_resumed(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    topic = kafka.create_topic(2)
    with member(settings, topic) as reader:
        reader.until(lambda: len(reader.assigned) == 2)
        first, second = sorted(reader.assigned)
        reader.source.pause(first)
        kafka.produce(topic, messages(1, start=0), 0)
        kafka.produce(topic, messages(1, start=1), 1)
        reader.until(lambda: reader.source.position(second) == 1)
        assert reader.values() == [b"line 1"]
        reader.source.resume(first)
        reader.until(lambda: len(reader.records) == 2)


def read_range(settings: KafkaSettings, topic: str, start: Bound | None = None, end: Bound | None = None) -> list[int]:
    replay = KafkaRange(settings, topic, start, end)
    try:
        return [offset for batch in replay for offset in batch.frame["offset"].to_list()]
    finally:
        replay.close()


def test_a_range_by_offsets_and_by_time_holds_its_start_and_not_its_end(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(10))
    assert read_range(settings, topic) == list(range(10))
    assert read_range(settings, topic, Bound(offset=3), Bound(offset=6)) == [3, 4, 5]
    assert read_range(settings, topic, Bound(offsets={0: 8}), Bound(offset=99)) == [8, 9]
    assert read_range(settings, topic, Bound(time_ms=1_004), Bound(time_ms=1_007)) == [4, 5, 6]
    assert read_range(settings, topic, Bound(time_ms=1_008), Bound(time_ms=9_999)) == [8, 9]
    assert read_range(settings, topic, Bound(time_ms=9_999)) == []
    assert read_range(settings, topic, Bound(offset=6), Bound(offset=3)) == []


def test_a_range_ends_behind_transaction_markers_and_holds_no_aborted_record(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    with producer(settings, kafka.name("txn")) as writer:
        for number in range(3):
            writer.commit([Output(topic, b"k", str(number).encode())], {}, None)
    with kafka.producer(transactional_id=kafka.name("txn")) as aborting:
        aborting.init_transactions()
        aborting.begin_transaction()
        aborting.send(topic, b"aborted").get(10)
        aborting.abort_transaction()
    replay = KafkaRange(settings, topic)
    (bounds,) = replay.ranges.values()
    assert bounds == (0, 8)
    assert [offset for batch in replay for offset in batch.frame["offset"].to_list()] == [0, 2, 4]
    replay.close()


def test_a_range_does_not_wait_for_an_open_transaction(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(2))
    with kafka.producer(transactional_id=kafka.name("txn")) as hanging:
        hanging.init_transactions()
        hanging.begin_transaction()
        hanging.send(topic, b"open").get(10)
        assert read_range(settings, topic) == [0, 1]
        hanging.abort_transaction()


def test_a_range_that_retention_passes_ends_with_an_error(kafka: KafkaForTests, settings: KafkaSettings) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, messages(10))
    replay = KafkaRange(settings, topic)
    delete_before(kafka, topic, 5)
    with pytest.raises(RangeLostError, match=r"offset 0 is not in the log \[5, 10\)"):
        list(replay)
    replay.close()


def test_a_missing_topic_is_named_with_the_command_that_creates_it(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.name("alerts")
    with pytest.raises(TopicMissingError, match=topic):
        describe_topic(settings, topic)
    with pytest.raises(TopicMissingError) as raised:
        create_missing_topics(settings, {topic: 3}, allowed=False)
    assert f"kafka-topics.sh --bootstrap-server {kafka.bootstrap_servers} --create --topic {topic}" in raised.value.hint
    assert create_missing_topics(settings, {topic: 3}, allowed=True) == (topic,)
    assert create_missing_topics(settings, {topic: 3}, allowed=False) == ()
    assert describe_topic(settings, topic).partitions == 3


def test_an_output_or_metadata_too_large_is_refused_before_anything_is_sent(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    topic = kafka.create_topic()
    with producer(settings, kafka.name("txn")) as writer:
        with pytest.raises(OutputTooLargeError, match=topic):
            writer.commit([Output(topic, b"k", b"x" * 1_048_576)], {}, None)
        with pytest.raises(StateError, match=r"4,096"):
            writer.commit([], {Partition(topic, "", 0): (1, "x" * 4_097)}, None)
        writer.commit([Output(topic, b"k", b"x" * 1_000_000)], {}, None)
    assert [len(value or b"") for value in values(kafka, topic)] == [1_000_000]


def test_an_output_the_broker_refuses_aborts_all_of_its_transaction(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    small, other = kafka.create_topic(max_message_bytes="2000"), kafka.create_topic()
    with producer(replace(settings, compression="none"), kafka.name("txn")) as writer:
        with pytest.raises(CommitAbortedError, match="MessageSizeTooLarge"):
            writer.commit([Output(other, b"k", b"with it"), Output(small, b"k", b"x" * 5_000)], {}, None)
        writer.commit([Output(other, b"k", b"after")], {}, None)
    assert values(kafka, other) == [b"after"]


def test_no_broker_is_an_error_that_names_the_address(settings: KafkaSettings) -> None:
    nowhere = replace(settings, bootstrap_servers=("127.0.0.1:1",), connect_timeout_ms=500)
    with pytest.raises(BrokerUnreachableError, match=r"127\.0\.0\.1:1"):
        describe_topic(nowhere, "logs")


def test_a_transaction_timeout_the_broker_does_not_allow_is_refused(
    kafka: KafkaForTests, settings: KafkaSettings
) -> None:
    with pytest.raises(BrokerRefusedError):
        TransactionalProducer(replace(settings, transaction_timeout_ms=10**9), kafka.name("txn"))
