"""From the configured format to what reads it."""

from typing import Protocol

import polars as pl

from longwatch.pipeline.config.format import Entity, Format, JsonFormat, TextFormat
from longwatch.pipeline.decode.fields import FieldTemplate
from longwatch.pipeline.decode.header import HeaderReader
from longwatch.pipeline.decode.jsonl import JsonReader
from longwatch.pipeline.decode.otel import otel_reader
from longwatch.pipeline.decode.syslog import rfc3164_reader, rfc5424_reader
from longwatch.pipeline.decode.timestamps import TimestampReader


class FormatReader(Protocol):
    """What reads the lines of one format."""

    def read(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Columns `event_time_ms` Int64, `message`, `entity`, `reason`, `detail` String, a row for each of `lines`.

        `lines` has `line` (String, null where the record was rejected before) and `timestamp_ms` (Int64).
        """


def format_reader(format_: Format, entity: Entity) -> FormatReader:
    """The reader of the one format that is configured; `entity` names the group or field it has to bring along."""
    if format_.text is not None:
        return _text(format_.text, entity.group)
    if format_.json_ is not None:
        return _json(format_.json_, entity.field)
    if format_.otel is not None:
        return otel_reader(format_.otel.message, entity.field)
    if format_.rfc5424 is not None:
        return rfc5424_reader(format_.rfc5424.message, entity.field)
    if format_.rfc3164 is not None:
        return rfc3164_reader(format_.rfc3164.message, entity.field, format_.rfc3164.timezone)
    raise ValueError(f"no format is configured; expected one of {', '.join(format_.kinds)}")


def _text(format_: TextFormat, entity: str | None) -> HeaderReader:
    timestamp = format_.timestamp
    return HeaderReader(
        header=format_.header,
        message=FieldTemplate(format_.message),
        time=FieldTemplate(timestamp.from_),
        timestamps=TimestampReader(timestamp.format, timestamp.timezone),
        entity=entity,
    )


def _json(format_: JsonFormat, entity: str | None) -> JsonReader:
    timestamp = format_.timestamp
    return JsonReader(
        message=FieldTemplate(format_.message),
        time=(timestamp.field,),
        timestamps=TimestampReader(timestamp.format, timestamp.timezone),
        entity=entity,
    )
