"""The alert as it leaves: stable id, window, scores, the events that stand out, and the digests behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from longwatch.pipeline.records import Partition

SCHEMA = "longwatch.alert/1"

Lifecycle = Literal["open", "update", "close"]


class ThresholdNote(msgspec.Struct, frozen=True):
    """The threshold in force: its value, how YAML set it, and what it costs on normal data."""

    value: float
    set_by: str
    setting: float
    expected_per_day: float


class Follower(msgspec.Struct, frozen=True):
    """A template, and in which share of the cases it came."""

    template: str
    share: float


class Expected(msgspec.Struct, frozen=True):
    """What normally comes `after` the event before: in training that event was followed `times` times."""

    after: str
    times: int
    instead: list[Follower]


class TopEvent(msgspec.Struct, frozen=True):
    """One event that stands out; `offset` is null for the window's own end (something expected did not come).

    `expected` is left out where training knows nothing better than what came.
    """

    offset: int | None
    event_time: str
    template_id: str
    template: str
    surprise: float
    score: float
    evidence: list[str]
    line: str | None = None
    expected: Expected | msgspec.UnsetType = msgspec.UNSET


class WindowNote(msgspec.Struct, frozen=True):
    """The window up to the record that caused this message."""

    first_offset: int
    last_offset: int
    start_time: str
    end_time: str
    num_events: int
    num_context: int
    closed_by: str | None


class SourceNote(msgspec.Struct, frozen=True):
    """Which log, and the record at which this message became due."""

    topic: str
    topic_id: str
    partition: int
    trigger_offset: int


class Digests(msgspec.Struct, frozen=True):
    """What the scores were made with."""

    bundle: str
    config: str
    templates: str


class Alert(msgspec.Struct, frozen=True, omit_defaults=False):
    """One message of an alert's life; `alert_id` and `revision` together are unique, whatever crashed in between.

    `pattern` names what carries it, for a mark to recognise; `suppressed_by` is there only where something silenced it,
    `swapped_at` only where another bundle took over its open window at that offset.
    """

    schema: str
    alert_id: str
    revision: int
    lifecycle: Lifecycle
    rule: str
    kind: Literal["event", "window"]
    entity: str
    score: float
    threshold: ThresholdNote
    source: SourceNote
    window: WindowNote
    top_events: list[TopEvent]
    digests: Digests
    partial: bool
    instance: str
    pattern: list[str] = []
    suppressed_by: str | msgspec.UnsetType = msgspec.UNSET
    swapped_at: int | msgspec.UnsetType = msgspec.UNSET

    def encode(self) -> bytes:
        """Alert as JSON, fields in the order of the schema."""
        return msgspec.json.encode(self)


@dataclass(frozen=True)
class AlertKey:
    """What makes two messages the same alert: digests are no part of it, so that an upgrade does not page twice.

    A window that another bundle took over amid it has alerts of its own from there on: `swapped_at` is that offset.
    """

    partition: Partition
    entity: str
    first_offset: int
    rule: str
    swapped_at: int | None = None

    @property
    def alert_id(self) -> str:
        """128-bit hash as 32 hex digits."""
        parts = (
            self.partition.topic_id,
            str(self.partition.partition),
            self.entity,
            str(self.first_offset),
            self.rule,
            *([] if self.swapped_at is None else [f"swapped at {self.swapped_at}"]),
        )
        encoded = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (_bytes(part) for part in parts))
        return blake2b(encoded, digest_size=16).hexdigest()


def iso_time(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert_schema() -> dict[str, Any]:
    """JSON Schema of the alert, generated from the types above."""
    schema = msgspec.json.schema(Alert)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "longwatch alert", **schema}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
