"""The embedded store holds outputs and positions together, and delivers alerts at least once."""

import io
import json
import sqlite3
import threading

import pytest

from longwatch.pipeline.alert_formats.choice import render
from longwatch.pipeline.checkpoint import VERSION, Metadata, Position
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.embedded_worker import open_embedded_worker
from longwatch.pipeline.errors import ConfigError, StateError
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sinks.embedded import EmbeddedStore
from longwatch.pipeline.sinks.streams import LineFile, LineStream
from longwatch.pipeline.worker import WorkerSettings
from support.demo import ARRIVAL_MS, BUSY, demo_config, demo_engine, demo_frame

LOGS = Partition("logs", "uuid", 0)


def position(offset: int) -> Position:
    return Position(offset, Metadata(VERSION, offset - 1, 7, "b", "c"))


def output(kind: Kind, value: bytes, offset: int = 0) -> Output:
    return Output(kind, LOGS, offset, b"key", value, (("longwatch.reason", b"why"),))


def test_what_was_committed_is_there_after_reopening(tmp_path):
    store = EmbeddedStore(tmp_path / "a.db")
    assert store.committed(LOGS) is None
    store.commit([output(Kind.ALERT, b"{}"), output(Kind.LATE, b"line")], {LOGS: position(5)})
    store.close()
    again = EmbeddedStore(tmp_path / "a.db")
    assert again.committed(LOGS) == position(5)
    assert again.read(Kind.ALERT) == [(b"key", b"{}", '{"longwatch.reason":"why"}')]
    assert [value for _, value, _ in again.read(Kind.LATE)] == [b"line"]


def test_a_failed_commit_leaves_neither_outputs_nor_positions(tmp_path):
    store = EmbeddedStore(tmp_path / "a.db")
    store.commit([], {LOGS: position(5)})
    broken = Output(Kind.ALERT, LOGS, 0, None, None)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="cannot be written: NOT NULL"):
        store.commit([output(Kind.ALERT, b"first"), broken], {LOGS: position(9)})
    assert store.committed(LOGS) == position(5)
    assert store.read(Kind.ALERT) == []


def test_an_alert_whose_delivery_failed_is_delivered_at_the_next_start(tmp_path):
    def fails(values):
        raise OSError("disk full")

    store = EmbeddedStore(tmp_path / "a.db", [fails])
    with pytest.raises(OSError, match="disk full"):
        store.commit([output(Kind.ALERT, b"one")], {LOGS: position(1)})
    store.close()
    got: list[bytes] = []
    again = EmbeddedStore(tmp_path / "a.db", [got.extend])
    again.commit([output(Kind.ALERT, b"two"), output(Kind.DEAD_LETTER, b"bad")], {LOGS: position(2)})
    assert got == [b"one", b"two"]


def test_alerts_are_appended_to_the_file_line_by_line(tmp_path):
    file = LineFile(tmp_path / "deep" / "alerts.jsonl")
    file([b'{"a":1}'])
    file([b'{"a":2}', b'{"a":3}'])
    assert (tmp_path / "deep" / "alerts.jsonl").read_text() == '{"a":1}\n{"a":2}\n{"a":3}\n'


def test_a_second_worker_on_the_same_database_is_refused(tmp_path):
    store = EmbeddedStore(tmp_path / "a.db")
    store.commit([], {LOGS: position(1)})
    with pytest.raises(StateError, match="only one worker"):
        EmbeddedStore(tmp_path / "a.db")


def test_another_programs_file_is_refused_unchanged(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes, not a database" * 100)
    with pytest.raises(StateError, match="another program"):
        EmbeddedStore(path)
    assert path.read_bytes() == b"my notes, not a database" * 100


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    EmbeddedStore(tmp_path / "a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for _ in range(2):
        with pytest.raises(StateError, match="version 99"):
            EmbeddedStore(tmp_path / "a.db")


def test_another_programs_database_is_refused_unchanged(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(StateError, match="tables notes"):
        EmbeddedStore(tmp_path / "a.db")
    assert (tmp_path / "a.db").read_bytes() == before


def test_a_full_disk_is_told_and_leaves_the_last_commit(tmp_path):
    store = EmbeddedStore(tmp_path / "a.db")
    store.commit([], {LOGS: position(5)})
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StateError, match="database or disk is full"):
        store.commit([output(Kind.DEAD_LETTER, b"x" * 100_000)], {LOGS: position(9)})
    assert store.committed(LOGS) == position(5)


def test_an_embedded_worker_does_not_read_standard_input_for_a_topic():
    kafka = {"bootstrap_servers": ["127.0.0.1:1"], "topic": "logs"}
    demo = demo_config()
    source = demo.source.model_validate({"kafka": kafka})
    config = demo.model_copy(update={"source": source})
    with (
        pytest.raises(ConfigError, match=r"source\.kafka"),
        open_embedded_worker(config, demo_engine(demo), ManualClock(), WorkerSettings()),
    ):
        pass


def test_printing_takes_any_character_and_tells_that_nobody_reads():
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    LineStream(screen)(['{"entity":"caf\u00e9"}'.encode()])
    assert screen.buffer.getvalue() == b'{"entity":"caf?"}\n'

    class Closed(io.BytesIO):
        def write(self, _bytes) -> int:
            raise BrokenPipeError("Broken pipe")

    closed = io.TextIOWrapper(Closed(), encoding="utf-8", write_through=True)
    with pytest.raises(StateError, match="cannot be printed"):
        LineStream(closed)([b"{}"])


def test_the_file_has_the_form_that_was_chosen_and_the_database_longwatchs_own(tmp_path):
    lines = tmp_path / "a.log"
    lines.write_text("".join(f"{line}\n" for line in demo_frame()["line"]))
    sink = {"database": str(tmp_path / "a.db"), "file": str(tmp_path / "a.jsonl"), "stdout": False, "format": "ecs"}
    config = demo_config({**BUSY, "source.files.paths": f"[{lines}]", "sink.embedded": json.dumps(sink)})
    settings = WorkerSettings(0.5, until_end=True)
    with open_embedded_worker(config, demo_engine(config), ManualClock(ARRIVAL_MS), settings) as worker:
        worker.run(threading.Event())
    store = EmbeddedStore(tmp_path / "a.db")
    own = [value for _, value, _ in store.read(Kind.ALERT)]
    store.close()
    assert own
    assert (tmp_path / "a.jsonl").read_bytes().splitlines() == [render(value, "ecs") for value in own]
