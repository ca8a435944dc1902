"""Order, back-off and bounds of one target's messages, in a time that the test moves."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.backoff import Backoff
from longwatch.pipeline.relay.lane import Delivery, Lane
from longwatch.pipeline.relay.verdict import Delivered, Refused, TryAgain, Verdict
from support.alert_messages import TOPIC, message

GIVE_UP_S = 100.0


def lane(draw: float = 1.0, max_failing: int = 16) -> Lane:
    return Lane(Backoff(1.0, 8.0, lambda: draw), GIVE_UP_S, max_failing)


def taken(from_lane: Lane, now: float) -> Delivery:
    found = from_lane.take(now)
    assert found is not None
    return found


verdicts = st.one_of(
    st.just(Delivered()),
    st.just(Refused("rejected", "no")),
    st.builds(TryAgain, st.just("busy"), st.one_of(st.none(), st.floats(0, 30))),
)
steps = st.lists(
    st.tuples(st.sampled_from(["offer", "take", "finish", "wait"]), st.integers(0, 5), verdicts), max_size=200
)


@settings(max_examples=300, deadline=None)
@given(steps, st.floats(0, 1), st.integers(1, 4))
def test_whatever_happens_each_message_ends_once_and_each_alert_in_its_order(script, draw: float, max_failing: int):
    tested = lane(draw, max_failing)
    now, offered = 0.0, 0
    running: list[Delivery] = []
    ended: dict[str, list[int]] = defaultdict(list)
    revisions: dict[int, int] = defaultdict(int)

    def finish(delivery: Delivery, verdict: Verdict) -> None:
        if tested.finish(delivery, verdict, now) is not None:
            ended[delivery.alert_id].append(delivery.message.alert.revision)

    def take() -> None:
        delivery = tested.take(now)
        if delivery is not None:
            assert delivery.alert_id not in {each.alert_id for each in running}, "two messages of one alert at once"
            assert delivery.at <= now, "tried before its pause was over"
            running.append(delivery)

    for action, number, verdict in script:
        if action == "offer":
            tested.offer(message(number, revisions[number], offset=offered), now)
            revisions[number] += 1
            offered += 1
        elif action == "take":
            take()
        elif action == "wait":
            now += number
        elif running:
            finish(running.pop(number % len(running)), verdict)
        assert tested.failing <= max_failing + len(running)

    while len(tested) or running:
        now += 0.25
        take()
        if running:
            finish(running.pop(), TryAgain("busy"))
        elif len(tested):
            wait_s = tested.wait_s(now)
            assert wait_s is not None, "messages are left and nothing will ever be tried"
            now += wait_s
    assert {number: ended[f"{number:032x}"] for number in revisions} == {
        number: list(range(count)) for number, count in revisions.items()
    }


def test_a_message_waits_for_the_one_before_it_of_its_alert_and_for_no_other():
    tested = lane()
    for number, revision in ((1, 0), (1, 1), (2, 0)):
        tested.offer(message(number, revision), 0.0)
    first, second = taken(tested, 0.0), taken(tested, 0.0)
    assert (first.message.delivery_key[-3:], second.message.delivery_key[-3:]) == ("1-0", "2-0")
    assert tested.take(0.0) is None
    tested.finish(first, Delivered(), 0.0)
    assert taken(tested, 0.0).message.alert.revision == 1


def test_a_failed_message_holds_back_its_own_alert_only():
    tested = lane()
    for number, revision in ((1, 0), (1, 1), (2, 0)):
        tested.offer(message(number, revision), 0.0)
    assert tested.finish(taken(tested, 0.0), TryAgain("busy"), 0.0) is None
    assert taken(tested, 0.0).alert_id.endswith("2")
    assert tested.take(0.5) is None
    again = taken(tested, 1.0)
    assert (again.message.alert.revision, again.attempts) == (0, 2)


def test_a_target_that_asks_for_a_pause_gets_it_for_all_messages():
    tested = lane(draw=0.0)
    tested.offer(message(1), 0.0)
    tested.offer(message(2), 0.0)
    tested.finish(taken(tested, 0.0), TryAgain("429", 30.0), 0.0)
    assert tested.take(29.9) is None
    assert tested.wait_s(10.0) == 20.0
    assert {taken(tested, 30.0).alert_id, taken(tested, 30.0).alert_id} == {f"{n:032x}" for n in (1, 2)}


def test_a_message_is_given_up_in_time_and_the_next_of_its_alert_goes_on():
    tested = lane()
    tested.offer(message(1, 0), 0.0)
    tested.offer(message(1, 1), 0.0)
    now, end = 0.0, None
    while end is None:
        end = tested.finish(taken(tested, now), TryAgain("500"), now)
        now += tested.wait_s(now) or 0.0
    assert isinstance(end, Refused)
    assert (end.reason, now) == ("gave_up", GIVE_UP_S)
    assert "500" in end.why
    assert taken(tested, now).message.alert.revision == 1


def test_a_pause_asked_for_beyond_the_last_moment_ends_the_message_at_once():
    tested = lane()
    tested.offer(message(1), 0.0)
    tested.offer(message(2), 0.0)
    end = tested.finish(taken(tested, 0.0), TryAgain("503", 10**9), 0.0)
    assert isinstance(end, Refused)
    # The others wait as long as a message may at most, not for ever.
    assert tested.take(GIVE_UP_S - 0.1) is None
    assert tested.take(GIVE_UP_S) is not None


def test_a_dead_target_is_tried_with_a_bounded_number_of_messages():
    tested = lane(max_failing=3)
    for number in range(50):
        tested.offer(message(number), 0.0)
    tried = set()
    for now in range(60):
        while (delivery := tested.take(float(now))) is not None:
            tried.add(delivery.alert_id)
            tested.finish(delivery, TryAgain("down"), float(now))
    assert len(tried) == 3


def test_what_is_forgotten_is_not_tried_and_what_runs_ends_without_a_result():
    other = Partition("alerts", "id", 1)
    tested = lane()
    for number, partition in ((1, TOPIC), (2, TOPIC), (3, other)):
        tested.offer(message(number, partition=partition), 0.0)
    running = taken(tested, 0.0)
    tested.forget(TOPIC)
    assert tested.finish(running, Delivered(), 0.0) is None
    assert taken(tested, 0.0).alert_id.endswith("3")
    assert (tested.take(0.0), len(tested)) == (None, 1)


def test_a_partition_that_comes_back_is_delivered_again_behind_what_still_runs():
    tested = lane()
    tested.offer(message(1), 0.0)
    running = taken(tested, 0.0)
    tested.forget(TOPIC)
    tested.offer(message(1), 0.0)
    assert tested.take(0.0) is None
    tested.finish(running, TryAgain("cut"), 0.0)
    assert isinstance(tested.finish(taken(tested, 0.0), Delivered(), 0.0), Delivered)
