"""Field by field: scores have a tolerance, nothing else has."""

from dataclasses import replace

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert, TopEvent
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.verify.fields import changes, same_scores
from longwatch.pipeline.verify.record import Content
from support.verifying import TOP_EVENTS, contents


@pytest.fixture
def content() -> Content:
    return next(
        each
        for each in contents()
        if len(alert_of(each).top_events) == TOP_EVENTS and alert_of(each).lifecycle == "close"
    )


def alert_of(content: Content) -> Alert:
    return msgspec.json.decode(content.value, type=Alert)


def found(content: Content, **fields: object) -> list[str]:
    value = msgspec.structs.replace(alert_of(content), **fields).encode()
    return list(changes(Kind.ALERT, replace(content, value=value), content, TOP_EVENTS))


def tops(content: Content, **fields: object) -> list[TopEvent]:
    """The top events with the last one's fields changed."""
    events = alert_of(content).top_events
    return [*events[:-1], msgspec.structs.replace(events[-1], **fields)]


def test_an_alert_equals_itself_and_another_worker_may_have_written_it(content):
    assert found(content) == []
    assert found(content, instance="another") == []


def test_a_score_may_differ_by_one_step_of_its_last_decimal(content):
    score = alert_of(content).score
    assert found(content, score=round(score + 0.0001, 4)) == []
    assert found(content, score=round(score + 0.0002, 4))[0].startswith("score: ")


def test_a_step_of_the_last_decimal_is_told_from_equal_scores(content):
    other = replace(content, value=msgspec.structs.replace(alert_of(content), score=1.2345).encode())
    assert same_scores(content, content, TOP_EVENTS)
    assert not same_scores(other, content, TOP_EVENTS)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"lifecycle": "update"}, "lifecycle"),
        ({"partial": True}, "partial"),
        ({"entity": "elsewhere"}, "entity"),
        ({"rule": "other"}, "rule"),
    ],
)
def test_anything_else_must_be_equal_and_is_named(content, fields, named):
    (said,) = found(content, **fields)
    assert said.startswith(f"{named}: ")
    assert said.endswith("in the replay")


def test_a_threshold_has_no_tolerance(content):
    threshold = msgspec.structs.replace(alert_of(content).threshold, value=alert_of(content).threshold.value + 1e-9)
    assert found(content, threshold=threshold)[0].startswith("threshold.value: ")


def test_events_of_nearly_one_score_may_change_places(content):
    """Other batches give other last decimals, by which the list is sorted and cut."""
    alert = alert_of(content)
    last = alert.top_events[-1]
    below = msgspec.structs.replace(last, offset=10**6, score=round(last.score - 0.0001, 4))
    ranked = msgspec.structs.replace(alert, top_events=[*alert.top_events, below])
    longer = replace(content, value=ranked.encode())
    swapped = replace(
        content,
        value=msgspec.structs.replace(
            alert, top_events=[*alert.top_events[:-1], msgspec.structs.replace(below, score=last.score)]
        ).encode(),
    )
    assert list(changes(Kind.ALERT, swapped, longer, TOP_EVENTS)) == []


def test_an_event_that_stood_out_less_may_not_take_another_place(content):
    alert = alert_of(content)
    low = msgspec.structs.replace(alert.top_events[-1], offset=10**6, score=-1.0)
    longer = replace(content, value=msgspec.structs.replace(alert, top_events=[*alert.top_events, low]).encode())
    taken = msgspec.structs.replace(alert, top_events=[*alert.top_events[:-1], low])
    said = list(changes(Kind.ALERT, replace(content, value=taken.encode()), longer, TOP_EVENTS))
    assert len(said) == 1
    assert "at this place" in said[0]


@pytest.mark.parametrize("fields", [{"offset": 10**9}, {"line": "another"}, {"evidence": ["made_up"]}])
def test_a_changed_top_event_is_found(content, fields):
    assert found(content, top_events=tops(content, **fields))


def test_a_top_event_that_stands_there_twice_or_is_left_out_is_found(content):
    events = alert_of(content).top_events
    assert found(content, top_events=[*events[:-1], events[0]])
    assert found(content, top_events=events[:-1])


def test_the_bytes_must_be_those_that_longwatch_writes(content):
    spaced = replace(content, value=content.value.replace(b'":', b'": ', 1))
    assert list(changes(Kind.ALERT, spaced, content, TOP_EVENTS)) == [
        "value: not the bytes that longwatch writes for this alert"
    ]


def test_a_header_that_stands_there_twice_is_found():
    letter = contents(Kind.DEAD_LETTER)[0]
    twice = replace(letter, headers=(*letter.headers, letter.headers[0]))
    assert list(changes(Kind.DEAD_LETTER, twice, letter, TOP_EVENTS)) == ["headers: one stands there twice"]
