"""An alert in the words of each kind of target; what came from a log is made harmless first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

import msgspec

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.console import sanitise
from longwatch.pipeline.relay.message import Message, event_time

LINE_CHARACTERS = 300
TOP_EVENTS = 5

_STATES = {"open": "ALERT", "update": "ALERT (worse)", "close": "closed"}


def headline(alert: Alert) -> str:
    """One line that says what stands out and where."""
    return _short(
        f"{_STATES[alert.lifecycle]} {alert.entity}: {alert.kind} score {alert.score:.2f} "
        f"(threshold {alert.threshold.value:.2f}, rule {alert.rule})"
    )


def details(alert: Alert) -> list[str]:
    """Lines that say why."""
    window = alert.window
    lines = [
        f"{window.num_events} events from {window.start_time} to {window.end_time}, "
        f"{alert.source.topic}[{alert.source.partition}]@{window.first_offset}-{window.last_offset}"
    ]
    for top in alert.top_events[:TOP_EVENTS]:
        why = ", ".join(top.evidence) or f"surprise {top.surprise:.1f} nats"
        lines.append(f"{top.event_time} {top.line or top.template} [{why}]")
    if alert.partial:
        lines.append("partial: some of the window's records were no longer in the log")
    return [_short(line) for line in lines]


def alertmanager_body(message: Message, now_ms: int, hold_ms: int) -> bytes:
    """A list of one alert for `POST /api/v2/alerts`; its labels are the same from open to close."""
    alert = message.alert
    starts, ends = _span(alert, now_ms, hold_ms)
    labels = {
        "alertname": "longwatch",
        "alert_id": alert.alert_id,
        "rule": alert.rule,
        "kind": alert.kind,
        "entity": alert.entity,
        "topic": alert.source.topic,
    }
    annotations = {
        "summary": headline(alert),
        "description": "\n".join(details(alert)),
        "score": f"{alert.score:.4f}",
        "revision": str(alert.revision),
        "lifecycle": alert.lifecycle,
    }
    named = {name: _short(text) for name, text in labels.items()}
    entry = {"labels": named, "annotations": annotations, "startsAt": _rfc3339(starts), "endsAt": _rfc3339(ends)}
    return msgspec.json.encode([entry])


def slack_body(message: Message) -> bytes:
    """`{"text": ...}` in which nothing from a log is a link, a mention or a mark-up of Slack's."""
    alert = message.alert
    quoted = "\n".join(_unmarked(line) for line in details(alert))
    return msgspec.json.encode({"text": f"*{_unmarked(headline(alert))}*\n```{quoted}```\nid {message.delivery_key}"})


def mail_of(message: Message, sender: str, receivers: tuple[str, ...], now_ms: int) -> EmailMessage:
    """A plain text mail; its id is that of the message, and updates answer the first."""
    alert = message.alert
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = sender, ", ".join(receivers)
    mail["Subject"] = headline(alert)
    mail["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    mail["Message-ID"] = f"<{message.delivery_key}@longwatch.invalid>"
    mail["References"] = f"<{alert.alert_id}@longwatch.invalid>"
    mail["Idempotency-Key"] = message.delivery_key
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join([headline(alert), "", *details(alert), "", f"id {message.delivery_key}"]))
    return mail


def _span(alert: Alert, now_ms: int, hold_ms: int) -> tuple[datetime, datetime]:
    """Alertmanager resolves an alert when its end is past: the window's at the close, else far ahead."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    starts, ends = event_time(alert.window.start_time), event_time(alert.window.end_time)
    if alert.lifecycle == "close":
        return starts, max(starts, min(ends, now))
    return starts, max(starts, now) + timedelta(milliseconds=hold_ms)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(text: str) -> str:
    harmless: Any = sanitise(text)
    return harmless if len(harmless) <= LINE_CHARACTERS else f"{harmless[: LINE_CHARACTERS - 3]}..."


def _unmarked(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Mattermost reads @all in plain text: a space without width after the @ keeps it a word.
    return escaped.replace("@", "@\u200b").replace("`", "'").replace("*", "\u2217")
