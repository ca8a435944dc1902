"""What `doctor` makes of topics: each setting that a worker relies on, one rule a test."""

from dataclasses import replace

import pytest

from longwatch.pipeline.doctor.answer import Answer, State
from longwatch.pipeline.doctor.facts import Topic
from longwatch.pipeline.doctor.topics import Needed, access, existence, settings
from longwatch.pipeline.window_state import WindowRules

HOUR_MS = 3_600_000
RULES = WindowRules(max_duration_ms=24 * HOUR_MS, idle_gap_ms=HOUR_MS, idle_timeout_ms=1000)
WELL = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "min.insync.replicas": "2",
    "max.message.bytes": "2000000",
    "message.timestamp.type": "LogAppendTime",
}
TOPIC = Topic("logs", True, 3, 3, 3, frozenset({"READ", "WRITE", "DESCRIBE"}), WELL)


def judged(writes: bool, topic: Topic = TOPIC, **changed: str) -> list[Answer]:
    values = WELL | {name.replace("_", "."): value for name, value in changed.items()}
    return list(settings([Needed(replace(topic, settings=values), writes)], RULES, 1_048_576))


@pytest.mark.parametrize("writes", [True, False])
def test_settings_that_fit_are_one_ok(writes):
    (answer,) = judged(writes)
    assert answer.state is State.OK


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
@pytest.mark.parametrize("writes", [True, False])
def test_a_compacted_topic_fails(policy, writes):
    (answer,) = judged(writes, cleanup_policy=policy)
    assert (answer.state, answer.hint) == (State.FAILED, "set cleanup.policy=delete on it")


@pytest.mark.parametrize(
    ("hours", "state"), [(24, State.FAILED), (26, State.WARNING), (51, State.OK), (0, State.FAILED)]
)
def test_retention_is_measured_by_how_long_a_window_may_last(hours, state):
    assert judged(False, retention_ms=str(hours * HOUR_MS))[0].state is state


def test_retention_by_bytes_is_a_warning_as_it_says_no_time():
    assert judged(False, retention_bytes="1000000")[0].state is State.WARNING


def test_producers_timestamps_are_a_warning_where_silence_counts():
    assert judged(False, message_timestamp_type="CreateTime")[0].state is State.WARNING
    assert judged(True, message_timestamp_type="CreateTime")[0].state is State.OK


def test_a_topic_that_takes_less_than_an_output_may_have_is_a_warning():
    assert judged(True, max_message_bytes="1048575")[0].state is State.WARNING
    assert judged(True, max_message_bytes="1048576")[0].state is State.OK


def test_too_few_replicas_in_sync_fail_and_a_lone_one_is_a_warning():
    assert judged(True, replace(TOPIC, in_sync=1))[0].state is State.FAILED
    assert judged(True, replace(TOPIC, replicas=1, in_sync=1), min_insync_replicas="1")[0].state is State.WARNING
    assert judged(True, min_insync_replicas="1")[0].state is State.WARNING


def test_settings_that_the_broker_does_not_tell_could_not_be_asked():
    (answer,) = settings([Needed(replace(TOPIC, settings=None), True)], RULES, 1)
    assert answer.state is State.UNASKED


def test_a_missing_topic_fails_unless_the_worker_creates_it():
    gone = Topic("gone", exists=False)
    assert [each.state for each in existence([Needed(gone, True), Needed(gone, True, True)])] == [
        State.FAILED,
        State.WARNING,
    ]
    assert [each.said for each in existence([Needed(TOPIC, False)])] == ["logs (3 partitions)"]


@pytest.mark.parametrize(("writes", "lacking"), [(True, "WRITE"), (False, "READ")])
def test_a_permission_that_is_lacking_is_named(writes, lacking):
    topic = replace(TOPIC, operations=TOPIC.operations - {lacking})
    (answer,) = access([Needed(topic, writes)])
    assert (answer.state, answer.hint) == (State.FAILED, f"give this user {lacking} on the topic")


def test_permissions_that_the_broker_does_not_tell_could_not_be_asked_and_a_refusal_fails():
    assert [each.state for each in access([Needed(replace(TOPIC, operations=None), True)])] == [State.UNASKED]
    refused = Topic("logs", True, refused="TopicAuthorizationFailedError")
    assert [each.state for each in access([Needed(refused, True)])] == [State.FAILED]
    assert [each.said for each in access([Needed(TOPIC, True)])] == ["may write logs"]
