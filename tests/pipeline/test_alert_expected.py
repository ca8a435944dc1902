"""`expected` in an alert: what training says comes after the event before, where that is something else than came."""

import msgspec
import pytest
from msgspec import UNSET

from longwatch.model.scorer import template_id
from longwatch.pipeline.alerts import Alert, TopEvent
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.verify.fields import changes
from longwatch.pipeline.verify.record import Content
from support.demo import BUSY, as_records, batch, demo_config, demo_engine, demo_frame, demo_model


@pytest.fixture(scope="module")
def alerts() -> list[Alert]:
    engine, records = (
        demo_engine(demo_config(BUSY)),
        batch(as_records([x.encode() for x in demo_frame((14, 16))["line"]])),
    )
    engine.assign(records.partition, None, 0)
    outputs = [*engine.process([records]).outputs, *engine.close_idle(records.partition).outputs]
    return [msgspec.json.decode(output.value, type=Alert) for output in outputs if output.kind is Kind.ALERT]


def told(alerts: list[Alert]) -> list[TopEvent]:
    return [event for alert in alerts for event in alert.top_events if event.expected is not UNSET]


def test_shares_are_those_counted_in_training_and_never_of_what_came(alerts):
    successors, texts = demo_model().bundle.successors, {}
    for text in demo_model().bundle.vocabulary.templates:
        texts[text[:128]] = template_id(text)
    assert len(told(alerts)) > 10
    for event in told(alerts):
        times, followers = successors.after(texts[event.expected.after])
        assert event.expected.times == times >= 20
        counted = {follower: round(count / times, 4) for follower, count in followers}
        assert [each.share for each in event.expected.instead] == sorted(
            (counted[texts[each.template]] for each in event.expected.instead), reverse=True
        )
        assert event.expected.instead[0].template != event.template[:128]


def test_a_stage_out_of_place_has_no_better_line_by_its_neighbour_alone_but_an_error_has(alerts):
    shares = [event.expected.instead[0].share for event in told(alerts)]
    assert max(shares) > 0.9


def test_an_alert_that_says_nothing_has_no_such_field_so_that_older_bundles_give_the_same_bytes(alerts):
    event = next(event for alert in alerts for event in alert.top_events if event.expected is UNSET)
    assert "expected" not in msgspec.json.decode(msgspec.json.encode(event))


def test_verify_sees_what_was_expected_changed_or_taken_away(alerts):
    alert = next(alert for alert in alerts if alert.top_events and alert.top_events[0].expected is not UNSET)
    first = alert.top_events[0]
    other = msgspec.structs.replace(first.expected, times=first.expected.times + 1)
    for wrong, words in ((other, "expected.times"), (UNSET, "expected: missing")):
        tops = [msgspec.structs.replace(first, expected=wrong), *alert.top_events[1:]]
        changed = msgspec.structs.replace(alert, top_events=tops)
        ours, theirs = (Content(alert.alert_id.encode(), each.encode(), ()) for each in (changed, alert))
        assert [line for line in changes(Kind.ALERT, ours, theirs, 5) if words in line]
        assert not list(changes(Kind.ALERT, theirs, theirs, 5))
        assert list(changes(Kind.ALERT, theirs, ours, 5))
