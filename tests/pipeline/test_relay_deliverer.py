"""The threads around a lane: against real servers, with what they answer as the script."""

import threading

import pytest

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.config import Allow, Target
from longwatch.pipeline.relay.backoff import Backoff
from longwatch.pipeline.relay.deliverer import Deliverer
from longwatch.pipeline.relay.guard import Guard
from longwatch.pipeline.relay.lane import Lane
from longwatch.pipeline.relay.message import Letter, Record
from longwatch.pipeline.relay.targets import open_target
from support.alert_messages import TOPIC, message
from support.receiver import OK, Answer, Post, Receiver, http_receiver

LOCAL = Allow(schemes=("http",), private_hosts=("127.0.0.1",))


class Ends:
    """What was told, and a way to wait for so many."""

    def __init__(self) -> None:
        self.turn = threading.Condition()
        self.told: list[tuple[int, str, Letter | None]] = []

    def __call__(self, record: Record, target: str, letter: Letter | None) -> None:
        with self.turn:
            self.told.append((record.offset, target, letter))
            self.turn.notify_all()

    def wait_for(self, count: int) -> None:
        with self.turn:
            assert self.turn.wait_for(lambda: len(self.told) >= count, 20), self.told


def deliverer(receiver: Receiver, ends: Ends, threads: int = 4) -> Deliverer:
    target = Target.model_validate({"name": "pager", "webhook": {"url": receiver.url}})
    send = open_target(target, LOCAL, Guard(LOCAL), SystemClock())
    return Deliverer("pager", Lane(Backoff(0.01, 0.02), 60.0), send, SystemClock(), ends, threads)


def test_messages_of_many_alerts_arrive_once_each_and_in_the_order_of_their_alert():
    failed: set[str] = set()

    def answer(post: Post) -> Answer:
        first = post.key not in failed
        failed.add(post.key)
        return (503, {}, b"") if first and post.key.endswith("1") else OK

    ends = Ends()
    with http_receiver(answer) as receiver:
        tested = deliverer(receiver, ends)
        for offset in range(60):
            tested.offer(message(offset % 10, offset // 10, offset=offset))
        ends.wait_for(60)
        tested.stop()
        keys = receiver.keys()
    assert sorted(offset for offset, _, letter in ends.told if letter is None) == list(range(60))
    for number in range(10):
        revisions = [int(key[-1]) for key in keys if key.startswith(f"{number:032x}")]
        assert revisions == [0, 1, 1, 2, 3, 4, 5]


def test_what_a_target_refuses_is_told_with_a_letter_and_the_next_goes_on():
    ends = Ends()
    with http_receiver(lambda post: (400, {}, b"bad") if post.key.endswith("-0") else OK) as receiver:
        tested = deliverer(receiver, ends)
        tested.offer(message(1, 0, offset=0))
        tested.offer(message(1, 1, offset=1))
        ends.wait_for(2)
        tested.stop()
    (offset, target, letter), (_, _, second) = ends.told
    assert (offset, target, second) == (0, "pager", None)
    assert letter is not None
    assert (letter.reason, letter.attempts) == ("rejected", 1)


def test_no_more_deliveries_are_under_way_than_allowed():
    open_now, most, turn = 0, 0, threading.Condition()

    def answer(_: Post) -> Answer:
        nonlocal open_now, most
        with turn:
            open_now += 1
            most = max(most, open_now)
            turn.wait_for(lambda: most > 2, 0.02)
            open_now -= 1
        return OK

    ends = Ends()
    with http_receiver(answer) as receiver:
        tested = deliverer(receiver, ends, threads=2)
        for number in range(20):
            tested.offer(message(number, offset=number))
        ends.wait_for(20)
        tested.stop()
    assert most == 2


def test_a_stop_begins_nothing_more_and_waits_for_what_is_under_way():
    go_on = threading.Event()
    ends = Ends()
    with http_receiver(lambda _: (go_on.wait(10), OK)[1]) as receiver:
        tested = deliverer(receiver, ends, threads=1)
        tested.offer(message(1, offset=1))
        tested.offer(message(2, offset=2))
        receiver.wait_for(lambda: receiver.posts)
        tested.stop()
        assert not tested.wait_idle(0.05)
        go_on.set()
        assert tested.wait_idle(10)
        assert [offset for offset, _, _ in ends.told] == [1]
        assert len(receiver.posts) == 1


def test_a_partition_that_goes_is_not_told_any_more():
    go_on = threading.Event()
    ends = Ends()
    with http_receiver(lambda _: (go_on.wait(10), OK)[1]) as receiver:
        tested = deliverer(receiver, ends, threads=1)
        tested.offer(message(1, offset=1))
        receiver.wait_for(lambda: receiver.posts)
        tested.forget(TOPIC, 0.0)
        go_on.set()
        assert tested.wait_idle(10)
        tested.stop()
    assert ends.told == []


def test_a_bug_in_a_renderer_is_a_dead_letter_and_not_the_end_of_the_thread(caplog: pytest.LogCaptureFixture):
    def broken(_: object) -> None:
        raise ZeroDivisionError("by zero")

    ends = Ends()
    tested = Deliverer("t", Lane(Backoff(0.01, 0.02), 60.0), broken, SystemClock(), ends, 1)  # type: ignore[arg-type]
    tested.offer(message(1, offset=1))
    tested.offer(message(2, offset=2))
    ends.wait_for(2)
    tested.stop()
    assert [letter and letter.reason for _, _, letter in ends.told] == ["delivery_broken"] * 2
