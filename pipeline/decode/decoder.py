"""The decoder: records in, events and rejected records out."""

from dataclasses import dataclass, field

import polars as pl

from longwatch.pipeline.config.format import Entity, Format
from longwatch.pipeline.decode.entity import LONGEST_ENTITY, EntityReader
from longwatch.pipeline.decode.formats import FormatReader, format_reader
from longwatch.pipeline.decode.lines import at_rows, excerpt, read_lines
from longwatch.pipeline.errors import ConfigError
from longwatch.pipeline.records import EVENT_SCHEMA, LINE_CHARACTERS, REJECT_SCHEMA


@dataclass(frozen=True)
class Decoded:
    """Each record once: `events` in `EVENT_SCHEMA` or `rejected` in `REJECT_SCHEMA`, both in the order they came."""

    events: pl.DataFrame
    rejected: pl.DataFrame


@dataclass(frozen=True)
class Decoder:
    """Pure: what becomes of a record depends on that record alone.

    Reason codes, the first that holds: empty_record, too_large, not_utf8, header_mismatch, json_invalid,
    field_missing, timestamp_invalid, timestamp_in_future, entity_missing.
    """

    format: Format
    entity: Entity
    _reader: FormatReader = field(init=False, repr=False, compare=False)
    _entity: EntityReader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_reader", format_reader(self.format, self.entity))
        object.__setattr__(self, "_entity", EntityReader.of(self.entity))

    def decode(self, frame: pl.DataFrame) -> Decoded:
        """Events and rejected records of `frame` (`RECORD_SCHEMA`)."""
        lines = read_lines(frame["value"], self.format.max_bytes.bytes)
        lines = lines.hstack([frame["offset"], frame["timestamp_ms"]])
        read = self._reader.read(lines)
        entity = self._entity.read(read, frame["key"], lines["line"]).alias("entity")
        rows = lines.drop("reason", "detail").hstack([read["event_time_ms"], read["message"], entity])
        refused = lines["reason"].is_not_null() | read["reason"].is_not_null()
        ahead = self._in_future(rows) & ~refused
        missing = entity.is_null() & ~refused & ~ahead
        bad = refused | ahead | missing
        if not bad.any():
            return Decoded(_events(rows), REJECT_SCHEMA.to_frame())
        whys = [lines, read, self._why_ahead(rows, ahead), _why_missing(rows, missing)]
        return Decoded(_events(rows.filter(~bad)), _rejections(rows["offset"], whys).filter(bad))

    def _in_future(self, rows: pl.DataFrame) -> pl.Series:
        arrival = rows["timestamp_ms"]
        return ((arrival >= 0) & (rows["event_time_ms"] - self.format.max_future.ms > arrival)).fill_null(False)

    def _why_ahead(self, rows: pl.DataFrame, ahead: pl.Series) -> pl.DataFrame:
        limit = f"format.max_future is {self.format.max_future.ms} ms"
        late = (rows["event_time_ms"] - rows["timestamp_ms"]).filter(ahead)
        return _why(ahead, "timestamp_in_future", [f"{ms} ms after its arrival; {limit}" for ms in late])


def decoder_for(format_: Format, entity: Entity) -> Decoder:
    """The decoder of a configuration; ConfigError for what only shows when patterns and formats are put together."""
    try:
        return Decoder(format_, entity)
    except ValueError as error:
        raise ConfigError(str(error), "see `format` and `entity` in the configuration") from error


def _why_missing(rows: pl.DataFrame, missing: pl.Series) -> pl.DataFrame:
    expected = f"no entity of 1 to {LONGEST_ENTITY} characters in"
    return _why(missing, "entity_missing", [f"{expected} {excerpt(line)}" for line in rows["line"].filter(missing)])


def _why(rows: pl.Series, reason: str, details: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"reason": at_rows(rows, [reason] * len(details)), "detail": at_rows(rows, details)})


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    # One thread does: handing a small batch to Polars' pool costs more than the work.
    return rows.select_seq(
        pl.col(name).str.slice(0, LINE_CHARACTERS) if name == "line" else pl.col(name) for name in EVENT_SCHEMA
    )


def _rejections(offsets: pl.Series, whys: list[pl.DataFrame]) -> pl.DataFrame:
    """Every row with the first reason found for it; the columns of `REJECT_SCHEMA`."""
    columns = [
        pl.select(pl.coalesce(pl.lit(each[name]) for each in whys).alias(name)).to_series()
        for name in ("reason", "detail")
    ]
    return pl.DataFrame([offsets, *columns])
