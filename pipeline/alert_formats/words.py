"""What every form says of an alert in the same words and numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.console import sanitise

Severity = Literal["medium", "high", "critical"]

TITLE_CHARACTERS = 300

HIGH, CRITICAL = 1.0, 3.0
"""Scores are powers of ten: this much above its threshold, an alert is ten times, or a thousand times, as rare."""


def title(alert: Alert) -> str:
    """One line for a person, harmless on any screen."""
    score = f"score {alert.score:.2f}, threshold {alert.threshold.value:.2f}"
    return sanitise(f"Unusual {alert.kind} of {alert.entity} ({score}, rule {alert.rule})")[:TITLE_CHARACTERS]


def severity(alert: Alert) -> Severity:
    """By how far the score is above its threshold."""
    above = alert.score - alert.threshold.value
    return "critical" if above >= CRITICAL else "high" if above >= HIGH else "medium"


def delivery_key(alert: Alert) -> str:
    """Unique to each message: what a receiver recognises a repeated one by."""
    return f"{alert.alert_id}-{alert.revision}"


def epoch_ms(text: str) -> int:
    """Milliseconds since 1970 of an alert's time."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
