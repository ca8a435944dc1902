"""OCSF: a Detection Finding (class 2004), whose finding is the alert and whose activity is its lifecycle."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from longwatch.pipeline.alert_formats.words import delivery_key, epoch_ms, severity, title
from longwatch.pipeline.alerts import Alert

VERSION = "1.8.0"

_CATEGORY, _CLASS = 2, 2004
_ACTIVITIES = {"open": (1, "Create"), "update": (2, "Update"), "close": (3, "Close")}
_STATUSES = {"open": (1, "New"), "update": (2, "In Progress"), "close": (4, "Resolved")}
_SEVERITIES = {"medium": (3, "Medium"), "high": (4, "High"), "critical": (5, "Critical")}
_LEARNING = (4, "Learning (ML/DL)")
_RESOURCE_NAME = 38


def ocsf(alert: Alert) -> dict[str, Any]:
    """The finding; what OCSF has no place for stands under `unmapped`."""
    activity_id, activity = _ACTIVITIES[alert.lifecycle]
    status_id, status = _STATUSES[alert.lifecycle]
    severity_id, severity_name = _SEVERITIES[severity(alert)]
    start, end = epoch_ms(alert.window.start_time), epoch_ms(alert.window.end_time)
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": _CATEGORY,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "type_uid": _CLASS * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}",
        "time": end,
        "start_time": start,
        "end_time": end,
        "severity_id": severity_id,
        "severity": severity_name,
        "status_id": status_id,
        "status": status,
        "is_alert": True,
        "message": title(alert),
        "metadata": _metadata(alert),
        "finding_info": _finding(alert, start, end),
        "resources": [{"name": alert.entity, "type": "log entity"}],
        "observables": [{"name": "resources[].name", "type_id": _RESOURCE_NAME, "value": alert.entity}],
        "evidences": [{"data": msgspec.to_builtins(event)} for event in alert.top_events],
        "unmapped": _unmapped(alert),
    }


def _metadata(alert: Alert) -> dict[str, Any]:
    return {
        "version": VERSION,
        "uid": delivery_key(alert),
        "product": {"name": "longwatch", "vendor_name": "longwatch", "version": version("longwatch")},
        "log_name": alert.source.topic,
        "sequence": alert.source.trigger_offset,
        "original_time": alert.window.end_time,
    }


def _finding(alert: Alert, start: int, end: int) -> dict[str, Any]:
    type_id, type_name = _LEARNING
    return {
        "uid": alert.alert_id,
        "title": title(alert),
        "types": [f"{alert.kind} anomaly"],
        "analytic": {"name": alert.rule, "uid": f"{alert.rule}/{alert.kind}", "type_id": type_id, "type": type_name},
        "data_sources": [alert.source.topic],
        "first_seen_time": start,
        "last_seen_time": end,
        "related_events_count": alert.window.num_events,
    }


def _unmapped(alert: Alert) -> dict[str, Any]:
    names = ("schema", "revision", "score", "threshold", "source", "window", "digests", "partial", "instance")
    return {name: msgspec.to_builtins(getattr(alert, name)) for name in names}
