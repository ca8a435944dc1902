"""Alerts against the planted truth: what was caught, what was missed, and which alerts were about nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.demo.incidents import Incident

GRACE_MS = 3 * 3_600_000
"""An alert this long after an incident's last event still counts as its own: a missing step shows only later."""


@dataclass(frozen=True)
class Verdict:
    """Each incident with its first alert, or missed; and the alerts, one per window, that belong to no incident."""

    caught: list[tuple[Incident, Alert]]
    missed: list[Incident]
    false: list[Alert]


def judge(alerts: Sequence[Alert], planted: Sequence[Incident]) -> Verdict:
    """An alert is an incident's when it was raised on its entity between its first event and its end, or soon after."""
    raised = [alert for alert in alerts if alert.lifecycle != "close"]
    own = {incident.id: [alert for alert in raised if _belongs(alert, incident)] for incident in planted}
    rightful = {alert.alert_id for found in own.values() for alert in found}
    opened = [alert for alert in raised if alert.lifecycle == "open" and alert.alert_id not in rightful]
    windows = {(alert.entity, alert.window.first_offset): alert for alert in reversed(opened)}
    return Verdict(
        [(incident, own[incident.id][0]) for incident in planted if own[incident.id]],
        [incident for incident in planted if not own[incident.id]],
        sorted(windows.values(), key=lambda alert: alert.source.trigger_offset),
    )


def _belongs(alert: Alert, incident: Incident) -> bool:
    raised_ms = datetime.fromisoformat(alert.window.end_time).timestamp() * 1000
    return alert.entity == incident.entity and incident.start_ms <= raised_ms <= incident.end_ms + GRACE_MS
