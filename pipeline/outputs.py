"""What leaves the engine: alerts, dead letters and late events, each caused by one input record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from longwatch.pipeline.masking.masker import NOTHING, Masker
from longwatch.pipeline.records import Partition, RecordBatch

ORIGINAL_BYTES = 512 * 1024
"""A larger record is cut in the dead-letter and late outputs; its position and size tell where the rest is."""

KEY_BYTES = 64 * 1024
"""So is a longer key: with value and headers it must fit into one request."""


_OVER = 1024


class Kind(StrEnum):
    """Which output topic, file or table."""

    ALERT = "alert"
    DEAD_LETTER = "dead_letter"
    LATE = "late"
    SUPPRESSED = "suppressed"
    EFFECT = "effect"
    CHANGE = "change"

    @property
    def is_record(self) -> bool:
        """Whether it records where something took effect: no output of a record."""
        return self in (Kind.EFFECT, Kind.CHANGE)

    @property
    def holds_alert(self) -> bool:
        """Whether its values are alert messages."""
        return self in (Kind.ALERT, Kind.SUPPRESSED)


@dataclass(frozen=True)
class Output:
    """One output record; `trigger_offset` is the input record that caused it, and below which it is never repeated."""

    kind: Kind
    partition: Partition
    trigger_offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return len(self.key or b"") + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)


def originals(kind: Kind, batch: RecordBatch, reasons: pl.DataFrame, masker: Masker = NOTHING) -> Iterator[Output]:
    """The original records of `reasons` (offset, reason, detail) with the reason in headers, as one output each.

    Where the masker changed a byte, header `masked` says so: the record itself is where topic and offset point.
    """
    rows = reasons.join(batch.frame, on="offset", how="left", maintain_order="left")
    for offset, reason, detail, timestamp, key, value in rows.select(
        "offset", "reason", "detail", "timestamp_ms", "key", "value"
    ).iter_rows():
        size = len(value or b"")
        headers = {
            "reason": reason,
            "detail": masker.text(detail) if masker.letters else detail,
            "topic": batch.partition.topic,
            "topic_id": batch.partition.topic_id,
            "partition": batch.partition.partition,
            "offset": offset,
            "timestamp_ms": timestamp,
            "original_bytes": size,
            "truncated": str(size > ORIGINAL_BYTES or len(key or b"") > KEY_BYTES).lower(),
        }
        short, cut = _cut(key, KEY_BYTES), _cut(value or b"", ORIGINAL_BYTES) or b""
        if masker.letters:
            shown_key, shown = _cut(_masked(masker, key, KEY_BYTES), KEY_BYTES), _masked(masker, value, ORIGINAL_BYTES)
            shown = _cut(shown, ORIGINAL_BYTES) or b""
            headers |= {"masked": "true"} if (shown_key, shown) != (short, cut) else {}
            short, cut = shown_key, shown
        encoded = tuple((f"longwatch.{name}", str(text).encode()) for name, text in headers.items())
        yield Output(kind, batch.partition, offset, short, cut, encoded)


def late_reasons(late: pl.DataFrame, allowed_lateness_ms: int) -> pl.DataFrame:
    """The reason (offset, reason, detail) of events that came too late."""
    detail = pl.format(
        "event time {} is older than the watermark by more than allowed_lateness ({} ms)",
        pl.from_epoch("event_time_ms", "ms").dt.to_string("%Y-%m-%dT%H:%M:%S%.3fZ"),
        pl.lit(allowed_lateness_ms),
    )
    # Polars 2.1 panics here where columns lie in chunks of different sizes.
    return late.rechunk().select("offset", pl.lit("late").alias("reason"), detail.alias("detail"))


def _cut(value: bytes | None, size: int) -> bytes | None:
    return None if value is None else value[:size]


def _masked(masker: Masker, value: bytes | None, size: int) -> bytes | None:
    """What the first `size` bytes hold, read a little further, so that nothing is cut in two and missed."""
    return None if value is None else masker.raw(value[: size + _OVER])


def unreadable(partition: Partition, first: int, next_offset: int, why: str) -> Output:
    """Records [first, next_offset) that no client can read: one dead letter, without bytes."""
    headers = {
        "reason": "unreadable_records",
        "detail": why,
        "topic": partition.topic,
        "topic_id": partition.topic_id,
        "partition": partition.partition,
        "offset": first,
        "next_offset": next_offset,
    }
    encoded = tuple((f"longwatch.{name}", str(text).encode()) for name, text in headers.items())
    return Output(Kind.DEAD_LETTER, partition, first, None, b"", encoded)
