"""What a consumer holds and is asked, by its attributes alone: no module of the client is needed for it."""

from operator import attrgetter
from typing import Any

import polars as pl

from longwatch.pipeline.kafka_columns import RecordColumns, columns_frame
from longwatch.pipeline.records import RECORD_SCHEMA

_column_values = attrgetter("offset", "timestamp", "key", "value")


def ask_for_round(consumer: Any) -> None:
    """Let the group assign its partitions anew; the member joins at its next poll, and keeps what it has meanwhile."""
    consumer._coordinator.request_rejoin()


def knows_coordinator(consumer: Any) -> bool:
    """Whether the member knows its group's coordinator: a request that it leaves without an answer ends that."""
    return consumer._coordinator.coordinator_id is not None


def record_frame(records: list[Any]) -> pl.DataFrame:
    """Columns in RECORD_SCHEMA from one partition's consumer records, or from parts that are columns already."""
    if records and isinstance(records[0], RecordColumns):
        return columns_frame(records)
    columns = zip(*map(_column_values, records), strict=True) if records else ((), (), (), ())
    return pl.DataFrame(dict(zip(RECORD_SCHEMA, columns, strict=True)), schema=RECORD_SCHEMA)


def current_topic_id(consumer: Any, topic: str) -> str | None:
    """The topic's UUID in the client's latest metadata; None while unknown."""
    found = consumer._cluster.topic_id(topic)
    return str(found) if found is not None and found.int else None
