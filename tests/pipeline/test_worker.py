"""The loop commits outputs with positions, rewinds after an abort, and closes what silence closes."""

import threading
from dataclasses import dataclass, field

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.kafka_errors import CommitAbortedError
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.sinks.memory import MemoryStore
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.worker import Worker, WorkerSettings
from support.demo import ARRIVAL_MS, BUSY, demo_config, demo_engine, demo_frame

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


@dataclass
class AbortingStore(MemoryStore):
    """Aborts the commits whose numbers are given, as a broker does after a rebalance."""

    aborts: set[int] = field(default_factory=set)
    calls: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def commit(self, outputs, positions) -> None:
        self.calls += 1
        if self.calls in self.aborts:
            raise CommitAbortedError("the group is rebalancing")
        super().commit(outputs, positions)


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


def test_a_stop_before_the_first_poll_commits_nothing_and_returns(log):
    stop = threading.Event()
    stop.set()
    store = MemoryStore()
    make_worker(log, store)[0].run(stop)
    assert store.outputs == []
