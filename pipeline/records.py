"""The columns that travel between rooms: what a source hands over, what decode makes of it."""

from dataclasses import dataclass

import numpy as np
import polars as pl

RECORD_SCHEMA = pl.Schema({"offset": pl.Int64, "timestamp_ms": pl.Int64, "key": pl.Binary, "value": pl.Binary})

EVENT_SCHEMA = pl.Schema(
    {
        "offset": pl.Int64,
        "timestamp_ms": pl.Int64,
        "event_time_ms": pl.Int64,
        "entity": pl.String,
        "message": pl.String,
        "line": pl.String,
    }
)

REJECT_SCHEMA = pl.Schema({"offset": pl.Int64, "reason": pl.String, "detail": pl.String})

LINE_CHARACTERS = 1024


@dataclass(frozen=True, order=True)
class Partition:
    """One ordered log: a Kafka partition, or the part of a file that would be one.

    `topic_id` is the topic's UUID (KIP-516), so that a topic made again under an old name is another log.
    """

    topic: str
    topic_id: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True)
class RecordBatch:
    """Consecutive records of one partition, `frame` in `RECORD_SCHEMA`, offsets rising.

    `next_offset` is the offset to read next: past the last record and any control record behind it.
    `timestamp_ms` is -1 where the source knows no arrival time; `key` and `value` may be null.
    """

    partition: Partition
    frame: pl.DataFrame
    next_offset: int


def split(batch: RecordBatch, committed: int, upto: int | None) -> tuple[list[RecordBatch], list[RecordBatch]]:
    """The part of a batch below the committed offset, and the rest up to `upto`; empty parts left out."""
    offsets = batch.frame["offset"].to_numpy()
    cut, end = int(np.searchsorted(offsets, committed)), len(offsets)
    if upto is not None:
        end = int(np.searchsorted(offsets, upto))
    again, new = batch.frame.head(min(cut, end)), batch.frame.slice(cut, max(0, end - cut))
    return (
        [RecordBatch(batch.partition, again, committed)] if len(again) else [],
        [RecordBatch(batch.partition, new, batch.next_offset)] if len(new) else [],
    )
