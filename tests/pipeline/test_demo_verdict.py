"""Alerts against the planted truth: whose they are, and which are nobody's."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.alerts import Alert, AlertKey, Digests, SourceNote, ThresholdNote, WindowNote, iso_time
from longwatch.pipeline.demo.incidents import Incident
from longwatch.pipeline.demo.verdict import GRACE_MS, judge
from longwatch.pipeline.records import Partition

LOGS = Partition("demo", "uuid", 0)
START, END = 1_000_000_000, 1_000_600_000
STUFFING = Incident("stuffing", "Stuffing", "burst", "vpn-01", START, END, "")
LATER = Incident("later", "Later", "order", "vpn-01", END + 10 * GRACE_MS, END + 11 * GRACE_MS, "")


def make_alert(
    raised_ms: int, entity: str = "vpn-01", first_offset: int = 0, lifecycle: str = "open", kind: str = "event"
) -> Alert:
    """An alert whose window so far ends at `raised_ms`."""
    return Alert(
        schema="longwatch.alert/1",
        alert_id=AlertKey(LOGS, entity, first_offset, f"default/{kind}").alert_id,
        revision=1,
        lifecycle=lifecycle,
        rule="default",
        kind=kind,
        entity=entity,
        score=5.0,
        threshold=ThresholdNote(1.0, "score", 1.0, 1.0),
        source=SourceNote("demo", "uuid", 0, first_offset + 5),
        window=WindowNote(first_offset, first_offset + 5, iso_time(0), iso_time(raised_ms), 6, 0, None),
        top_events=[],
        digests=Digests("b", "c", "t"),
        partial=False,
        instance="",
    )


def test_an_alert_within_the_incident_or_soon_after_catches_it_and_is_not_false():
    for raised in (START, END, END + GRACE_MS):
        verdict = judge([make_alert(raised)], [STUFFING])
        assert [incident for incident, _ in verdict.caught] == [STUFFING]
        assert (verdict.missed, verdict.false) == ([], [])


def test_an_alert_too_early_too_late_or_on_another_entity_is_false():
    alerts = [
        make_alert(START - 1, first_offset=0),
        make_alert(END + GRACE_MS + 1, first_offset=10),
        make_alert(START, "web-01", first_offset=20),
    ]
    verdict = judge(alerts, [STUFFING])
    assert (verdict.caught, verdict.missed, verdict.false) == ([], [STUFFING], alerts)


def test_the_first_alert_of_an_incident_is_shown():
    first, second = make_alert(START + 5), make_alert(START + 9, first_offset=10)
    assert judge([first, second], [STUFFING]).caught == [(STUFFING, first)]


def test_a_close_catches_nothing_and_is_no_false_alarm():
    verdict = judge([make_alert(START, lifecycle="close"), make_alert(0, lifecycle="close")], [STUFFING])
    assert (verdict.caught, verdict.missed, verdict.false) == ([], [STUFFING], [])


def test_an_alert_that_opens_early_and_rises_in_the_incident_is_the_incidents():
    early, update = make_alert(START - 60_000), make_alert(START + 5, lifecycle="update")
    verdict = judge([early, update], [STUFFING])
    assert verdict.caught == [(STUFFING, update)]
    assert verdict.false == []


def test_a_window_alerted_by_two_rules_is_one_false_alarm_the_earlier():
    event, window = make_alert(0, kind="event"), make_alert(5, kind="window")
    assert judge([event, window], [STUFFING]).false == [event]


def test_incidents_keep_their_order_and_each_has_its_own_alert():
    alerts = [make_alert(LATER.start_ms, first_offset=10), make_alert(START, first_offset=0)]
    verdict = judge(alerts, [STUFFING, LATER])
    assert verdict.caught == [(STUFFING, alerts[1]), (LATER, alerts[0])]


ALERTS = st.builds(
    make_alert,
    st.integers(START - 2 * GRACE_MS, END + 2 * GRACE_MS),
    st.sampled_from(["vpn-01", "web-01"]),
    st.integers(0, 4),
    st.sampled_from(["open", "update", "close"]),
    st.sampled_from(["event", "window"]),
)


@given(st.lists(ALERTS, max_size=12))
def test_every_incident_is_caught_or_missed_and_no_alert_is_both_right_and_false(alerts):
    verdict = judge(alerts, [STUFFING, LATER])
    caught = [incident for incident, _ in verdict.caught]
    assert sorted([*caught, *verdict.missed], key=lambda incident: incident.id) == [LATER, STUFFING]
    right = {alert.alert_id for _, alert in verdict.caught}
    assert right.isdisjoint(alert.alert_id for alert in verdict.false)
    places = [(alert.entity, alert.window.first_offset) for alert in verdict.false]
    assert len(places) == len(set(places))


def test_the_verdict_reads_alerts_as_they_are_delivered():
    decoded = msgspec.json.decode(make_alert(START).encode(), type=Alert)
    assert judge([decoded], [STUFFING]).caught == [(STUFFING, decoded)]
