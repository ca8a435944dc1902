"""One alert message read from the topic, and what becomes of it when it cannot be delivered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from longwatch.pipeline.alerts import SCHEMA, Alert
from longwatch.pipeline.console import sanitise
from longwatch.pipeline.outputs import KEY_BYTES, ORIGINAL_BYTES
from longwatch.pipeline.records import Partition

DETAIL_CHARACTERS = 500

_ALERT_ID = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class Record:
    """Where the message stands in the topic, and its bytes as they are there."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes

    @property
    def position(self) -> str:
        """`topic[partition]@offset`."""
        return f"{self.partition}@{self.offset}"


@dataclass(frozen=True, eq=False)
class Message:
    """A record that is an alert; two reads of the same record are two messages."""

    record: Record
    alert: Alert

    @property
    def delivery_key(self) -> str:
        """The same at every delivery of this message, and of no other."""
        return f"{self.alert.alert_id}-{self.alert.revision}"


@dataclass(frozen=True)
class Letter:
    """A record that a target did not take, or that is no alert (`target` empty), and why."""

    record: Record
    target: str
    reason: str
    detail: str
    attempts: int = 0

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Named as those of the worker's dead letters."""
        record = self.record
        cut = len(record.value) > ORIGINAL_BYTES or len(record.key or b"") > KEY_BYTES
        named = {
            "reason": self.reason,
            "detail": sanitise(self.detail)[:DETAIL_CHARACTERS],
            "target": self.target,
            "attempts": self.attempts,
            "topic": record.partition.topic,
            "topic_id": record.partition.topic_id,
            "partition": record.partition.partition,
            "offset": record.offset,
            "original_bytes": len(record.value),
            "truncated": str(cut).lower(),
        }
        return tuple((f"longwatch.{name}", str(value).encode()) for name, value in named.items())


def read_message(record: Record) -> Message | Letter:
    """The alert of a record; a letter when it is none, for nothing in the topic may stop the relay."""
    try:
        alert = msgspec.json.decode(record.value, type=Alert)
        times = [event_time(text) for text in (alert.window.start_time, alert.window.end_time)]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Letter(record, "", "not_an_alert", f"{type(error).__name__}: {error}")
    if alert.schema != SCHEMA:
        return Letter(record, "", "unknown_schema", f"schema {alert.schema}, this longwatch reads {SCHEMA}")
    if _ALERT_ID.match(alert.alert_id) is None or alert.revision < 0 or times[0] > times[1]:
        return Letter(record, "", "not_an_alert", "alert_id is not 32 hex digits, or a number is out of range")
    return Message(record, alert)


def event_time(text: str) -> datetime:
    """The moment of an RFC 3339 time; ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
