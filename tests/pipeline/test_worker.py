"""The loop commits outputs with positions, rewinds after an abort, and closes what silence closes."""

import threading
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import polars as pl
import pytest
from structlog.testing import capture_logs

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.kafka_errors import BrokerUnreachableError, CommitAbortedError, CommitUnknownError
from longwatch.pipeline.outputs import Kind, unreadable
from longwatch.pipeline.patience import MOST_POLLS
from longwatch.pipeline.pending import MAX_PENDING_BYTES
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sinks.memory import MemoryStore
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.worker import Worker, WorkerSettings
from support.aborting_store import AbortingStore
from support.demo import ARRIVAL_MS, BUSY, as_records, demo_config, demo_engine, demo_frame

CONFIG = demo_config(BUSY)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "demo.log"
    path.write_text("".join(f"{line}\n" for line in demo_frame((9, 10))["line"].head(1200)))
    return path


def open_source(log, poll_records: int = 100) -> FilesSource:
    shape = TopicShape("logs", "uuid", 1)
    return FilesSource(
        [log], shape, Decoder(CONFIG.format, CONFIG.entity), arrival_ms=ARRIVAL_MS, poll_records=poll_records
    )


def make_worker(log, store, clock=None, **settings) -> tuple[Worker, FilesSource]:
    source = open_source(log)
    worker = Worker(source, demo_engine(CONFIG), store, clock or ManualClock(), WorkerSettings(0.0, **settings))
    worker.assigned(source.partitions)
    return worker, source


def messages(store: MemoryStore) -> list[tuple[object, ...]]:
    alerts = [msgspec.json.decode(output.value, type=Alert) for output in store.of(Kind.ALERT)]
    return sorted((a.alert_id, a.revision, a.lifecycle, a.source.trigger_offset) for a in alerts)


def test_every_commit_holds_the_outputs_up_to_its_position(log):
    store = MemoryStore()
    worker, source = make_worker(log, store)
    commits = []
    original = store.commit

    def commit(outputs, positions):
        commits.append((list(outputs), dict(positions)))
        original(outputs, positions)

    store.commit = commit
    worker.run(threading.Event())
    before = 0
    for outputs, positions in commits:
        (position,) = positions.values()
        assert all(before <= output.trigger_offset < position.next_offset for output in outputs)
        before = position.next_offset
    assert before == 1200
    assert source.exhausted


def test_an_aborted_commit_is_done_again_from_the_last_one(log):
    calm, shaken = MemoryStore(), AbortingStore(aborts={2, 3, 7, 12})
    make_worker(log, calm)[0].run(threading.Event())
    worker, _ = make_worker(log, shaken)
    worker.run(threading.Event())
    assert worker.progress.aborted == 4
    assert messages(shaken) == messages(calm)


@dataclass
class SilentStore(MemoryStore):
    """Does not answer the commits whose numbers are given, of which the even ones happened; nor what is asked next."""

    silent: set[int] = field(default_factory=set)
    calls: int = 0
    away: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def commit(self, outputs, positions) -> None:
        self.calls += 1
        if self.calls in self.silent:
            self.away = 3
            if self.calls % 2 == 0:
                super().commit(outputs, positions)
            raise CommitUnknownError("no answer")
        super().commit(outputs, positions)

    def committed(self, partition):
        self.away -= 1
        if self.away > 0:
            raise BrokerUnreachableError("still away")
        return super().committed(partition)


def test_a_commit_of_unknown_outcome_is_decided_by_what_the_store_says_once_it_answers(log):
    calm, shaken = MemoryStore(), SilentStore(silent={2, 3, 6, 9})
    make_worker(log, calm)[0].run(threading.Event())
    worker, _ = make_worker(log, shaken)
    worker.run(threading.Event())
    assert worker.progress.aborted == 4
    assert messages(shaken) == messages(calm)


def test_revoked_partitions_are_committed_first_and_lost_ones_are_not(log):
    for give_up, committed in (("revoked", 1), ("lost", 0)):
        store = MemoryStore()
        worker, source = make_worker(log, store)
        worker._settings = WorkerSettings(3600.0)
        worker._take(worker._engine.process(source.poll()))
        getattr(worker, give_up)(source.partitions)
        assert len(store.positions) == committed
        worker.commit()
        assert len(store.positions) == committed


def test_silence_closes_windows_only_with_idle_timeout(log):
    config = demo_config(BUSY | {"windows.idle_timeout": "5s"})
    for timeout, ends in ((None, 0), (5000, 1)):
        store, source = MemoryStore(), open_source(log)
        settings = WorkerSettings(0.0, until_end=True, idle_timeout_ms=timeout)
        engine = demo_engine(config if timeout else CONFIG)
        worker = Worker(source, engine, store, ManualClock(ARRIVAL_MS), settings)
        worker.assigned(source.partitions)
        worker.run(threading.Event())
        alerts = [msgspec.json.decode(output.value, type=Alert) for output in store.of(Kind.ALERT)]
        closed = {alert.window.closed_by for alert in alerts}
        assert ("partition_idle" in closed) == bool(ends)
        (position,) = store.positions.values()
        assert (position.metadata.replay_from == 1200) == bool(ends)


@dataclass
class TwoPartitions:
    """A live topic: partition 0 goes silent after its first records, partition 1 always has another line."""

    clock: ManualClock
    exhausted = False
    read: dict[Partition, int] = field(default_factory=lambda: {QUIET: 0, CHATTY: 0})
    end: int = 0

    def poll(self) -> list[RecordBatch]:
        self.clock.advance(1000)
        batches = []
        for partition, count in ((QUIET, 20 - self.read[QUIET]), (CHATTY, 1)):
            frame = as_records(LINES[self.read[partition] :][:count], self.read[partition])
            frame = frame.with_columns(timestamp_ms=pl.lit(self.clock.ms))
            self.read[partition] += len(frame)
            if len(frame):
                batches.append(RecordBatch(partition, frame, self.read[partition]))
        return batches

    def seek(self, partition: Partition, offset: int) -> None:
        self.read[partition] = offset

    def hold(self) -> None:
        pass

    def start(self, _partition: Partition) -> int:
        self.end += 7
        return self.end - 7

    def readable_from(self, _partition: Partition) -> int:
        return 0

    def at_end(self, partition: Partition) -> bool:
        return partition == QUIET

    def is_set(self) -> bool:
        """Asked as the worker's stop."""
        return self.read[CHATTY] >= 30

    def close(self) -> None:
        pass


QUIET, CHATTY = Partition("logs", "uuid", 0), Partition("logs", "uuid", 1)
LINES = [line.encode() for line in demo_frame((9, 10))["line"].head(100)]


def test_a_silent_partition_closes_its_windows_while_another_one_is_busy():
    store, clock = MemoryStore(), ManualClock(ARRIVAL_MS)
    source = TwoPartitions(clock)
    engine = demo_engine(demo_config(BUSY | {"windows.idle_timeout": "5s"}))
    worker = Worker(source, engine, store, clock, WorkerSettings(0.0, idle_timeout_ms=5000))
    worker.assigned([QUIET, CHATTY])
    worker.run(source)
    assert store.positions[QUIET].metadata.replay_from == store.positions[QUIET].next_offset == 20
    assert store.positions[CHATTY].metadata.replay_from < 30


def test_an_aborted_first_commit_goes_back_to_where_reading_began():
    """`start: latest` would otherwise begin again at what is then the end, and lose what lies between."""
    clock = ManualClock(ARRIVAL_MS)
    source = TwoPartitions(clock)
    worker = Worker(source, demo_engine(CONFIG), AbortingStore(aborts={1}), clock, WorkerSettings(0.0))
    worker.assigned([CHATTY])
    began = source.read[CHATTY]
    worker._take(worker._engine.process(source.poll()))
    worker.commit()
    worker.step()
    assert source.read[CHATTY] == began


@dataclass
class Held(FilesSource):
    """Counts its polls, and gives nothing to who holds it, as a group does; `holds` says how often it was told to."""

    polls: int = 0
    holds: int = 0
    held: bool = False

    def __init__(self, log) -> None:
        shape = TopicShape("logs", "uuid", 1)
        super().__init__([log], shape, Decoder(CONFIG.format, CONFIG.entity), arrival_ms=ARRIVAL_MS, poll_records=100)

    def poll(self, timeout_ms: int = 0) -> list[RecordBatch]:
        self.polls += 1
        return [] if self.held else super().poll()

    def hold(self) -> None:
        self.holds, self.held = self.holds + 1, True

    def seek(self, partition: Partition, offset: int) -> None:
        self.held = False
        super().seek(partition, offset)


def test_while_a_sink_is_away_nothing_is_read_or_held_and_it_is_asked_less_and_less_often(log):
    calm, shaken = MemoryStore(), MemoryStore()
    make_worker(log, calm)[0].run(threading.Event())
    source, commit, asked = Held(log), shaken.commit, []
    worker = Worker(source, demo_engine(CONFIG), shaken, ManualClock(), WorkerSettings(0.0))
    worker.assigned(source.partitions)
    worker.step()

    def refuse(outputs, positions):
        asked.append(source.polls)
        raise CommitAbortedError("no room")

    shaken.commit = refuse
    while source.polls < 200:
        worker.step()
    waited = [after - before for before, after in pairwise(asked)]
    # Two more each time: one that rebuilds the windows, one that gives the records to commit.
    assert waited[:5] == [1 + 2, 2 + 2, 4 + 2, 8 + 2, 16 + 2]
    assert set(waited[5:]) == {MOST_POLLS + 2}
    assert source.holds == len(asked)
    shaken.commit = commit
    worker.run(threading.Event())
    assert messages(shaken) == messages(calm) != []


def test_after_a_commit_an_abort_is_tried_again_at_once(log):
    store = AbortingStore(aborts={2, 3, 4, 5, 7})
    source = Held(log)
    worker = Worker(source, demo_engine(CONFIG), store, ManualClock(), WorkerSettings(0.0))
    worker.assigned(source.partitions)
    polls = {}
    while store.calls < 8:
        worker.step()
        polls.setdefault(store.calls, source.polls)
    assert polls[5] - polls[4] == 4 + 2
    # The windows of 200 records by then.
    assert polls[8] - polls[7] == 1 + 3


def test_records_that_cannot_be_read_are_one_dead_letter_however_often_they_are_met(log):
    """Unreadable records end the log so far: a worker restarts at the same place, and its source meets them again."""
    store = MemoryStore()
    for _ in range(2):
        worker, source = make_worker(log, store)
        (partition,) = source.partitions
        worker._take(worker._engine.process(source.poll()))
        worker.dead_letter(unreadable(partition, 100, 110, "CorruptRecordError"), 110)
        worker.commit()
    assert [output.trigger_offset for output in store.of(Kind.DEAD_LETTER)] == [100]
    assert store.positions[partition].next_offset >= 110


def test_a_stop_before_the_first_poll_commits_nothing_and_returns(log):
    stop = threading.Event()
    stop.set()
    store = MemoryStore()
    make_worker(log, store)[0].run(stop)
    assert store.outputs == []


def test_many_bytes_of_outputs_do_not_wait_for_the_commit_interval(tmp_path):
    path = tmp_path / "large.log"
    path.write_bytes(b"".join(b"x" * 600_000 + b"\n" for _ in range(40)))
    source, store = open_source(path, poll_records=5), MemoryStore()
    worker = Worker(source, demo_engine(CONFIG), store, ManualClock(), WorkerSettings(1e9))
    worker.assigned(source.partitions)
    held = []
    worker._on_progress = lambda _: held.append(worker._pending.num_bytes)
    assert worker.run(threading.Event()).commits > 1
    assert MAX_PENDING_BYTES <= max(held) < MAX_PENDING_BYTES + 5 * 600_000
    assert len(store.of(Kind.DEAD_LETTER)) == 40


def test_progress_and_what_is_held_are_logged_now_and_then(log):
    clock, source = ManualClock(), open_source(log)
    settings = WorkerSettings(0.0, progress_interval_s=30.0)
    engine = demo_engine(CONFIG)
    worker = Worker(source, engine, MemoryStore(), clock, settings, on_progress=lambda _: clock.advance(10_000))
    worker.assigned(source.partitions)
    with capture_logs() as logged:
        worker.run(threading.Event())
    told = [entry for entry in logged if entry["event"] == "progress"]
    assert [entry["records"] for entry in told] == [300, 600, 900, 1200]
    assert all(entry["open_windows"] > 0 and entry["pending"] == 0 for entry in told)


GATHERED = {"gather_records": 350, "gather_s": 3600.0}


def make_gathering_worker(log, store) -> tuple[Worker, FilesSource]:
    source = open_source(log)
    worker = Worker(source, demo_engine(CONFIG), store, ManualClock(), WorkerSettings(1e9, **GATHERED))
    worker.assigned(source.partitions)
    return worker, source


def test_records_that_waited_for_others_give_the_same_alerts_in_fewer_batches(log):
    calm, gathered = MemoryStore(), MemoryStore()
    make_worker(log, calm)[0].run(threading.Event())
    worker, _ = make_gathering_worker(log, gathered)
    sizes, process = [], worker._engine.process
    worker._engine.process = lambda batches: sizes.extend(len(each.frame) for each in batches) or process(batches)
    worker.run(threading.Event())
    assert sizes == [400, 400, 400]
    assert messages(gathered) == messages(calm) != []


def test_records_that_wait_are_finished_before_a_dead_letter_behind_them_moves_the_position(log):
    store = MemoryStore()
    worker, source = make_gathering_worker(log, store)
    (partition,) = source.partitions
    worker.step()
    worker.dead_letter(unreadable(partition, 100, 110, "CorruptRecordError"), 110)
    assert worker.progress.records == 100
    worker.commit()
    assert store.positions[partition].next_offset == 110


@pytest.mark.parametrize(("give_up", "records"), [("revoked", 100), ("lost", 0)])
def test_records_that_wait_are_finished_for_the_next_owner_and_dropped_when_it_has_them_already(log, give_up, records):
    store = MemoryStore()
    worker, source = make_gathering_worker(log, store)
    worker.step()
    getattr(worker, give_up)(source.partitions)
    assert worker.progress.records == records
    assert {position.next_offset for position in store.positions.values()} == ({records} - {0})
    assert worker._gathered.num_records == 0


def test_records_that_wait_are_committed_when_the_worker_is_told_to_stop(log):
    store, stop = MemoryStore(), threading.Event()
    worker, _ = make_gathering_worker(log, store)
    worker.step()
    stop.set()
    worker.run(stop)
    assert [position.next_offset for position in store.positions.values()] == [100]


def test_records_that_wait_are_read_again_after_an_aborted_commit(log):
    calm, shaken = MemoryStore(), AbortingStore(aborts={1})
    make_worker(log, calm)[0].run(threading.Event())
    worker, _ = make_gathering_worker(log, shaken)
    for _ in range(5):
        worker.step()
    assert worker._gathered.num_records == 100
    worker.commit()
    worker.step()
    assert worker._gathered.num_records == 0
    worker.run(threading.Event())
    assert messages(shaken) == messages(calm)
