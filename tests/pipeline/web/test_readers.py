"""Browsers that come back, read slowly or not at all: the worker does not notice, they hear what they missed."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.config.web import Web
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.watch import State
from longwatch.pipeline.web.access import Access
from longwatch.pipeline.web.app import MOST_STREAMS
from longwatch.pipeline.web.board import Board
from longwatch.pipeline.web.feed import Feed
from longwatch.pipeline.web.server import PageServer
from support.demo import LOGS

Event = tuple[str, str, Any]


@contextmanager
def served(board: Board) -> Iterator[int]:
    server = PageServer(Web(port=0), Access.of(Web()), board, {"pipeline": "app", "feedback": False})
    server.start()
    try:
        yield server.port or 0
    finally:
        server.close()


def commit(board: Board, first: int, last: int) -> None:
    """Alert messages first to last, committed one by one."""
    for number in range(first, last + 1):
        board.committed([Output(Kind.ALERT, LOGS, number, None, json.dumps({"n": number}).encode())])


def read(port: int, count: int, last_id: str = "") -> list[Event]:
    """So many events but for those of the state, as (name, id, data)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/events", headers={"Last-Event-ID": last_id} if last_id else {})
    answer = connection.getresponse()
    assert answer.status == 200
    found: list[Event] = []
    fields: dict[str, str] = {}
    while len(found) < count:
        line = answer.readline().decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if fields.get("event", "state") != "state":
                found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
            fields = {}
    connection.close()
    return found


def numbers(events: list[Event]) -> list[int]:
    return [data["alert"]["n"] for name, _, data in events if name == "alert"]


def test_a_browser_that_comes_back_gets_what_came_since_once():
    board = Board(ManualClock())
    with served(board) as port:
        commit(board, 1, 5)
        first = read(port, 6)
        assert first[0][0] == "begin"
        assert numbers(first) == [1, 2, 3, 4, 5]
        commit(board, 6, 8)
        assert numbers(read(port, 3, first[-1][1])) == [6, 7, 8]


def test_what_a_browser_missed_is_counted():
    board = Board(ManualClock())
    board.feed = Feed(10)
    with served(board) as port:
        commit(board, 1, 3)
        last = read(port, 4)[-1][1]
        commit(board, 4, 40)
        events = read(port, 11, last)
        assert events[0] == ("missed", "", {"count": 27})
        assert numbers(events) == list(range(31, 41))


@pytest.mark.parametrize("last_id", ["other.3", "garbage", ".", "9" * 40])
def test_an_id_of_another_run_begins_anew(last_id):
    board = Board(ManualClock())
    with served(board) as port:
        commit(board, 1, 2)
        events = read(port, 3, last_id)
        assert events[0] == ("begin", "", {"startedMs": 0, "anew": True})
        assert numbers(events) == [1, 2]


def test_browsers_beyond_the_limit_are_refused_and_let_in_when_one_leaves():
    board = Board(ManualClock())
    with served(board) as port:
        held = [_opened(port) for _ in range(MOST_STREAMS)]
        assert {first for _, first in held} == {b"HTTP/1.1 200"}
        refused, first = _opened(port)
        assert first == b"HTTP/1.1 503"
        refused.close()
        held[0][0].close()
        deadline = time.monotonic() + 10
        while (again := _opened(port))[1] != b"HTTP/1.1 200":
            again[0].close()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for each, _ in [*held[1:], again]:
            each.close()


def _opened(port: int) -> tuple[socket.socket, bytes]:
    found = socket.create_connection(("127.0.0.1", port), timeout=10)
    found.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return found, found.recv(12)


def test_readers_that_take_nothing_cost_the_worker_no_time_and_no_memory():
    """Twenty browsers never read while ten thousand large messages are committed; a good reader gets the newest."""
    board = Board(ManualClock())
    with served(board) as port:
        deaf = [_opened(port)[0] for _ in range(20)]
        value = json.dumps({"n": 0, "text": "x" * 20_000}).encode()
        slowest = 0.0
        for number in range(10_000):
            begun = time.perf_counter()
            board.committed([Output(Kind.ALERT, LOGS, number, None, value)])
            slowest = max(slowest, time.perf_counter() - begun)
        assert slowest < 0.5
        assert len(board.feed.after(0)[0]) == 1000
        assert len(numbers(read(port, 20))) >= 18
        for each in deaf:
            each.close()


def test_an_error_of_the_page_ends_the_page_and_not_the_worker():
    board = Board(ManualClock())

    def lag() -> dict:
        raise RuntimeError("a bug of the page")

    board.told(State(Progress(), 0, 0, False, lag, dict, dict, bool, True, None))
    board.told(State(Progress(), 0, 0, False, lag, dict, dict, bool, True, None))
    board.scored([])
    commit(board, 1, 2)
    assert board.snapshot.number == 0
    assert board.feed.last == 0
