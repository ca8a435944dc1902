import io
import os

import pytest

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.sources.stdin import StdinSource


def source_of(content, **settings):
    return StdinSource(io.BytesIO(content), "stdin", ManualClock(5).now_ms, **settings)


def drain(source):
    found = []
    while not source.exhausted:
        found += source.poll()
    return found


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    with open(reader, "rb") as read, open(writer, "wb", buffering=0) as write:
        yield read, write


def test_lines_are_numbered_and_arrive_when_they_are_read():
    first, second = drain(source_of(b"a\r\nb\nlast", poll_records=2))
    assert first.frame["value"].to_list() == [b"a", b"b"]
    assert first.frame["timestamp_ms"].to_list() == [5, 5]
    assert (second.frame["value"].to_list(), second.frame["offset"].to_list()) == ([b"last"], [2])
    assert second.next_offset == 3


def test_no_input_is_exhausted_without_a_record():
    assert drain(source_of(b"")) == []


def test_a_silent_pipe_gives_nothing_and_is_not_exhausted(pipe):
    source = StdinSource(pipe[0], "stdin", ManualClock(5).now_ms, timeout_ms=1)
    assert source.poll() == []
    assert not source.exhausted


def test_a_line_comes_once_its_end_has_come(pipe):
    read, write = pipe
    source = StdinSource(read, "stdin", ManualClock(5).now_ms, timeout_ms=1)
    write.write(b"one\ntw")
    assert [batch.frame["value"].to_list() for batch in source.poll()] == [[b"one"]]
    assert source.poll() == []
    write.write(b"o\n")
    assert [batch.frame["value"].to_list() for batch in source.poll()] == [[b"two"]]


def test_an_endless_line_is_cut_behind_max_bytes():
    (batch,) = drain(source_of(b"x" * (3 << 20) + b"\nend\n", max_bytes=10))
    assert batch.frame["value"].bin.size().to_list() == [11, 3]


def test_each_run_is_a_log_of_its_own():
    clock = ManualClock(5)
    first = StdinSource(io.BytesIO(), "stdin", clock.now_ms)
    clock.ms = 6
    assert first.partitions != StdinSource(io.BytesIO(), "stdin", clock.now_ms).partitions


def test_seeking_skips_forward_and_refuses_to_go_back():
    source = source_of(b"a\nb\nc\n")
    (partition,) = source.partitions
    source.seek(partition, 2)
    (batch,) = drain(source)
    assert batch.frame.select("offset", "value").rows() == [(2, b"c")]
    with pytest.raises(InputError, match="cannot be read again"):
        source.seek(partition, 0)
