"""From an alert to a mark that silences what is like it, and into the log that workers read."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

import msgspec

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.carriers import MOST_CARRIERS, SHARE
from longwatch.pipeline.config import Config
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.feedback.marks import MARK_BYTES, Entry, Mark
from longwatch.pipeline.feedback.recorded import require_feedback
from longwatch.pipeline.masking.masker import is_shared_mark

MOST_ENTITIES, MOST_CHARACTERS = 100, 500
LAST_MS = 253_402_300_799_000
"""The end of the year 9999: a mark that is to last for ever."""


def make_mark(
    messages: Sequence[Alert],
    entities: Sequence[str],
    now_ms: int,
    *,
    for_ms: int | None = None,
    until_ms: int | None = None,
    reason: str = "",
    by: str = "",
) -> Mark:
    """The mark of an alert of which these messages are known; `for_ms` counts from now or its end, whichever is later.

    All of them count, not the newest alone: an alert that ends is carried by its end, and none like it begins so.

    Raises UsageError where it would silence nothing, or says too much.
    """
    alert, pattern = messages[-1], sorted({digest for message in messages for digest in message.pattern})
    if not pattern:
        raise UsageError(f"alert {alert.alert_id} names no pattern", "it was written by an older longwatch")
    if len(entities) > MOST_ENTITIES or any(len(text) > MOST_CHARACTERS for text in (*entities, reason, by)):
        raise UsageError("too much for one mark", f"at most {MOST_ENTITIES} globs, {MOST_CHARACTERS} characters each")
    ends = until_ms if until_ms is not None else _later(alert, now_ms) + (for_ms or 0)
    chosen = [text for text in entities if text] or [_own(alert)]
    return Mark(
        mark_id=f"m-{uuid4().hex[:12]}",
        alert_id=alert.alert_id,
        rule=alert.rule,
        kind=alert.kind,
        pattern=pattern,
        entities=chosen,
        until_ms=min(LAST_MS, ends),
        made_ms=now_ms,
        templates=list(dict.fromkeys(text for message in messages for text in _carrying(message))),
        reason=reason,
        by=by,
    )


def _own(alert: Alert) -> str:
    if is_shared_mark(alert.entity):
        hint = "name them with --entities, or give `masking` a key, so that each has a name of its own"
        raise UsageError(f"alert {alert.alert_id} shows its entity as {alert.entity}, as it shows others", hint)
    return glob.escape(alert.entity)


def _carrying(alert: Alert) -> list[str]:
    """Templates of the events that carry it, as far as the alert shows them: for people, nothing is decided by it."""
    enough = SHARE * alert.top_events[0].score if alert.top_events else 0.0
    carrying = [event.template for event in alert.top_events[:MOST_CARRIERS] if event.score >= enough]
    return list(dict.fromkeys(text[:MOST_CHARACTERS] for text in carrying))


def _later(alert: Alert, now_ms: int) -> int:
    return max(now_ms, int(datetime.fromisoformat(alert.window.end_time).timestamp() * 1000))


def append(config: Config, entry: Entry) -> None:
    """Add a mark or a withdrawal to the log; durable when this returns."""
    feedback, value = require_feedback(config), msgspec.json.encode(entry)
    if len(value) > MARK_BYTES:
        raise UsageError(f"the mark has {len(value):,} bytes, of at most {MARK_BYTES:,}", "name fewer entities")
    if config.sink.kafka is None:
        from longwatch.pipeline.feedback.mark_file import append_entry

        append_entry(feedback.file, value)
    else:
        from longwatch.pipeline.kafka_marks import append_entry as append_record
        from longwatch.pipeline.kafka_worker import kafka_settings

        append_record(kafka_settings(config), feedback.topic, entry.mark_id, value)
