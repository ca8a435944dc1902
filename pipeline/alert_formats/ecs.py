"""ECS: an event of kind `alert` for Elasticsearch; the whole alert stands under `longwatch`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from longwatch.pipeline.alert_formats.words import delivery_key, severity, title
from longwatch.pipeline.alerts import Alert

VERSION = "9.4.0"

# What Elastic's own detections give for these words.
_SEVERITIES = {"medium": 47, "high": 73, "critical": 99}


def ecs(alert: Alert) -> dict[str, Any]:
    """The event, nested; its namespace `longwatch` is a field of its own, as ECS wants those that it does not know."""
    document = {
        "@timestamp": alert.window.end_time,
        "ecs": {"version": VERSION},
        "message": title(alert),
        "tags": ["longwatch"],
        "labels": {"entity": alert.entity, "topic": alert.source.topic},
        "event": _event(alert),
        "rule": {"name": alert.rule, "id": f"{alert.rule}/{alert.kind}", "ruleset": "longwatch"},
        "observer": {"vendor": "longwatch", "product": "longwatch", "version": version("longwatch")},
        "longwatch": msgspec.to_builtins(alert),
    }
    if alert.instance:
        document["observer"]["name"] = alert.instance
    return document


def _event(alert: Alert) -> dict[str, Any]:
    return {
        "kind": "alert",
        "category": ["intrusion_detection"],
        "type": ["info"],
        "action": f"alert-{alert.lifecycle}",
        "id": delivery_key(alert),
        "module": "longwatch",
        "dataset": "longwatch.alert",
        "provider": "longwatch",
        "reason": title(alert),
        "severity": _SEVERITIES[severity(alert)],
        "risk_score": alert.score,
        "sequence": alert.revision,
        "start": alert.window.start_time,
        "end": alert.window.end_time,
    }
