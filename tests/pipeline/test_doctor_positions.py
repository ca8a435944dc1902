"""What `doctor` makes of where a group stands, one rule a test."""

import pytest

from longwatch.pipeline.checkpoint import VERSION, WITH_BUNDLES, Metadata, Position
from longwatch.pipeline.doctor.answer import Answer, State, exit_code
from longwatch.pipeline.doctor.facts import Group, OpenTransaction
from longwatch.pipeline.doctor.positions import access, clock, hanging, lag, replay
from longwatch.pipeline.kafka_offsets import Bounds

GROUP = Group("Stable", 2, frozenset({"READ", "DESCRIBE"}))
IDLE = Group("Empty", 0, frozenset({"READ", "DESCRIBE"}))
DIGESTS = ("b" * 16, "c" * 16)


def at(offset: int, replay_from: int) -> dict[int, Position]:
    return {0: Position(offset, Metadata(VERSION, replay_from, 0, *DIGESTS))}


def told(positions: dict[int, Position], start: int, end: int, digests=DIGESTS) -> list[Answer]:
    return list(replay("logs", positions, {0: Bounds(start, end, end)}, digests))


def test_a_replay_point_in_the_log_is_ok_and_says_how_far_back_it_is():
    (answer,) = told(at(500, 320), 0, 600)
    assert (answer.state, "180 offsets again" in answer.said) == (State.OK, True)


def test_a_replay_point_before_the_log_fails():
    (answer,) = told(at(500, 320), 321, 600)
    assert answer.state is State.FAILED
    assert answer.said == "logs[0]@320 must be read again, the log begins at 321"


def test_a_replay_point_that_retention_comes_close_to_is_a_warning():
    assert told(at(500, 320), 310, 600)[0].state is State.WARNING
    assert told(at(500, 320), 200, 600)[0].state is State.OK


def test_a_commit_past_the_end_shows_another_topic():
    (answer,) = told(at(500, 500), 0, 20)
    assert answer.state is State.FAILED
    assert "re-created" in answer.hint


def test_a_commit_of_another_bundle_is_a_warning():
    assert [each.state for each in told(at(5, 5), 0, 9, ("x", "y"))] == [State.WARNING]
    assert [each.state for each in told(at(5, 5), 0, 9, None)] == [State.OK]


def test_with_reload_a_commit_of_another_bundle_is_ok_while_it_is_at_hand_and_fails_when_it_is_not():
    changes = ((0, 1, f"{DIGESTS[1]}/{DIGESTS[0]}"),)
    positions = {0: Position(5, Metadata(WITH_BUNDLES, 5, 0, *DIGESTS, settings=changes))}
    bounds = {0: Bounds(0, 9, 9)}
    assert [each.state for each in replay("logs", positions, bounds, ("x", "y"), {DIGESTS[0]})] == [State.OK]
    (answer,) = replay("logs", positions, bounds, ("x", "y"), {"x"})
    assert (answer.state, DIGESTS[0] in answer.said) == (State.FAILED, True)
    assert "reload.bundles" in answer.hint


@pytest.mark.parametrize(
    ("positions", "group", "state", "waiting"),
    [
        (at(60, 60), GROUP, State.OK, 40),
        (at(60, 60), IDLE, State.WARNING, 40),
        (at(100, 60), IDLE, State.OK, 0),
        ({}, GROUP, State.WARNING, 90),
    ],
)
def test_records_that_wait_for_nobody_are_a_warning(positions, group, state, waiting):
    answer = lag("logs", positions, {0: Bounds(10, 105, 100)}, group)
    assert answer.state is state
    assert f"{waiting} offsets of logs wait" in answer.said


def test_a_transaction_is_hanging_when_its_own_time_out_has_long_passed():
    ours = OpenTransaction("alerts", 0, 7, 42, last_written_ms=100_000)
    theirs = OpenTransaction("logs", 0, 7, 42, last_written_ms=100_000)

    def states(now_ms: int) -> list[State]:
        return [each.state for each in hanging([ours, theirs], 2, now_ms, {"alerts": 15_000})]

    assert states(120_000) == [State.OK]
    assert states(140_000) == [State.FAILED]
    assert states(2_000_000) == [State.FAILED, State.FAILED]
    assert [each.said for each in hanging([], 0, 0, {})] == ["none is open"]


def test_only_timestamps_ahead_of_the_clock_show_a_skew():
    assert clock({"logs": 10_000}, 5_000).state is State.OK
    assert clock({"logs": 10_001}, 5_000).state is State.WARNING
    assert clock({"logs": 10_000}, 10**9).state is State.OK
    assert clock({}, 0).state is State.UNASKED


def test_a_group_that_may_not_be_read_fails():
    assert access(GROUP, "g").state is State.OK
    assert access(Group("", 0, frozenset({"DESCRIBE"})), "g").hint == "give this user READ on the group"
    assert access(Group("", 0, None), "g").state is State.UNASKED
    assert access(Group("", 0, None, "not authorized"), "g").state is State.FAILED


def test_only_a_failure_fails_the_whole():
    states = [State.OK, State.WARNING, State.UNASKED]
    assert exit_code(Answer("x", state, "") for state in states) == 0
    assert exit_code(Answer("x", state, "") for state in [*states, State.FAILED]) == 1
