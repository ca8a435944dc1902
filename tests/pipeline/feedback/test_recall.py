"""Marks of every false alarm of the demo silence most of them, and none of its planted incidents."""

import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import build_engine
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY
from longwatch.pipeline.demo.incidents import Incident, incidents
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.feedback.making import make_mark
from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.outputs import Kind
from support.demo import LOGS, as_records, batch, demo_config, demo_frame, demo_model
from support.marking import FOR_EVER, alerts_of, write

HALF = 20_000


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return [line.encode() for line in demo_frame((0, 36))["line"]]


def watched(lines: list[bytes], book: MarkBook) -> tuple[list[Alert], int]:
    """Alerts of the demo's day and a half under the marks of a book, and how many messages were silenced."""
    engine = build_engine(demo_config(), demo_model(), past=Past(book))
    engine.assign(LOGS, None, 0)
    outputs = engine.heed(book.changed_at).outputs
    for start in range(0, len(lines), HALF):
        outputs += engine.process([batch(as_records(list(lines[start : start + HALF]), start))]).outputs
    outputs += engine.close_idle(LOGS).outputs
    return alerts_of(outputs), len(alerts_of(outputs, Kind.SUPPRESSED))


def caught(alerts: list[Alert], incident: Incident) -> bool:
    return any(_within(alert, incident) for alert in alerts)


def _within(alert: Alert, incident: Incident) -> bool:
    start, end = _ms(alert.window.start_time), _ms(alert.window.end_time)
    return alert.entity == incident.entity and start <= incident.end_ms and end >= incident.start_ms


def _ms(text: str) -> int:
    from longwatch.pipeline.commands.bounded import event_time_ms

    return event_time_ms(text)


def test_marking_every_false_alarm_costs_no_planted_incident(lines):
    planted = incidents(7, DEMO_FIRST_DAY)
    before, _ = watched(lines, MarkBook())
    false = [alert for alert in before if not any(_within(alert, incident) for incident in planted)]
    by_id: dict[str, list[Alert]] = {}
    for alert in false:
        by_id.setdefault(alert.alert_id, []).append(alert)
    book = MarkBook()
    write(book, *[make_mark(messages, ["*"], 0, until_ms=FOR_EVER) for messages in by_id.values()])
    after, silenced = watched(lines, book)
    assert len(by_id) > 5
    assert silenced >= len(false)
    assert [incident.id for incident in planted if caught(after, incident)] == [
        incident.id for incident in planted if caught(before, incident)
    ]
    assert sum(caught(before, incident) for incident in planted) >= 5
    assert not {alert.alert_id for alert in after} & by_id.keys()
