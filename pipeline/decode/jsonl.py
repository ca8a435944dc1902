"""JSON records: one object per record, its fields reached by dotted paths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import polars as pl

from longwatch.pipeline.decode.fields import FieldTemplate
from longwatch.pipeline.decode.lines import at_rows
from longwatch.pipeline.decode.timestamps import TimestampReader


class RefusedError(Exception):
    """Why a record is not what it should be: a reason code and a detail for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class _Row(NamedTuple):
    time: str | None = None
    message: str | None = None
    entity: str | None = None
    reason: str | None = None
    detail: str | None = None


_NOTHING = _Row()

PIECE = 64
"""So many records are read at once, or one by one where any of them is odd."""

_decode = msgspec.json.Decoder().decode
_ODD = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, RefusedError)


def as_is(record: dict[str, Any]) -> dict[str, Any]:
    """The object itself: plain JSON lines."""
    return record


@dataclass(frozen=True)
class JsonReader:
    """Reads one JSON object per line. `message` is a template of paths, `entity` a path, `time` paths tried in order
    (for epochs 0 counts as absent).

    `a.b` is the key `a.b`, else the key b of the object a. `unwrap` turns the parsed object into the one the paths
    look into, or raises `RefusedError`.
    """

    message: FieldTemplate
    time: tuple[str, ...]
    timestamps: TimestampReader
    entity: str | None = None
    unwrap: Callable[[dict[str, Any]], dict[str, Any]] = as_is

    def read(self, lines: pl.DataFrame) -> pl.DataFrame:
        """What `FormatReader` promises."""
        # Polars' JSON functions fail the whole column for one broken row.
        texts = lines["line"].to_list()
        pieces = [self._piece(texts[start : start + PIECE]) for start in range(0, len(texts), PIECE)]
        columns = {
            name: list(chain.from_iterable(piece[place] for piece in pieces)) for place, name in enumerate(_Row._fields)
        }
        frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
        event_time = self.timestamps.read(frame["time"], lines["timestamp_ms"])
        bad = event_time.is_null() & frame["time"].is_not_null()
        path = " or ".join(self.time)
        details = [f"{path}: {self.timestamps.complaint(time)}" for time in frame["time"].filter(bad)]
        return frame.select_seq(
            "message",
            "entity",
            event_time_ms=event_time,
            reason=at_rows(bad, ["timestamp_invalid"] * len(details)).zip_with(bad, frame["reason"]),
            detail=at_rows(bad, details).zip_with(bad, frame["detail"]),
        )

    def _piece(self, lines: list[str | None]) -> Sequence[Sequence[str | None]]:
        """The columns of `_Row`: at once where no record is odd, and else record by record."""
        try:
            found = self._at_once(lines)
        except _ODD:
            found = None
        if found is None:
            return list(zip(*(_NOTHING if line is None else self._row(line) for line in lines), strict=True))
        nothing = [None] * len(lines)
        return [*found, nothing, nothing]

    def _at_once(self, lines: list[str | None]) -> tuple[Sequence[str | None], ...] | None:
        """Time, message and entity of records that all have a time and a message; None where one may not."""
        records = [_decode(line) for line in lines]  # type: ignore[arg-type]  # None raises what is odd
        if any(type(record) is not dict for record in records):
            return None
        if self.unwrap is not as_is:
            records = [self.unwrap(record) for record in records]
        time = _texts(records, self.time[0])
        if None in time or (self.timestamps.is_epoch and "0" in time):
            return None
        columns = [_texts(records, name) for name in self.message.names]
        filled = list(zip(*columns, strict=True)) if columns else [()] * len(lines)
        if columns and any(texts.count(None) == len(texts) for texts in filled):
            return None
        whole = len(columns) == 1 and self.message.fill(["-"]) == "-"
        message = columns[0] if whole else [self.message.fill(texts) for texts in filled]
        return time, message, [None] * len(lines) if self.entity is None else _texts(records, self.entity)

    def _row(self, line: str) -> _Row:
        try:
            record = self.unwrap(_parse(line))
            entity = None if self.entity is None else find_text(record, self.entity)
            return _Row(self._time(record), self._message(record), entity)
        except RefusedError as refusal:
            return _Row(reason=refusal.reason, detail=refusal.detail)
        except RecursionError:
            return _Row(reason="json_invalid", detail="nested too deeply to read")

    def _time(self, record: dict[str, Any]) -> str:
        for path in self.time:
            text = find_text(record, path)
            if text is not None and not (text == "0" and self.timestamps.is_epoch):
                return text
        raise RefusedError("field_missing", f"no {' or '.join(self.time)} to take the event time from")

    def _message(self, record: dict[str, Any]) -> str:
        names = self.message.names
        texts = [find_text(record, name) for name in names]
        if names and texts.count(None) == len(names):
            raise RefusedError("field_missing", f"no {' or '.join(names)} to make the message from")
        return self.message.fill(texts)


def _texts(records: list[dict[str, Any]], path: str) -> list[str | None]:
    """`find_text` of each."""
    found: list[Any] = [record.get(path) for record in records]
    if "." in path and all(value is None for value in found):
        found = list(records)
        for part in path.split("."):
            found = [value.get(part) if type(value) is dict else None for value in found]
    if all(type(text) is str for text in found):
        return found
    return [find_text(record, path) for record in records]


def find_text(record: dict[str, Any], path: str) -> str | None:
    """The field at `path` as text: strings as they are, anything else as JSON; None where it is absent or null."""
    value = record.get(path)
    if value is None and "." in path:
        value = _nested(record, path)
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _nested(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return _find(record, path.split(".")) if value is None else value


def _parse(line: str) -> dict[str, Any]:
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError) as error:
        raise RefusedError("json_invalid", f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise RefusedError("json_invalid", f"a JSON {type(record).__name__}; one object per record is expected")
    return record


def _find(value: Any, parts: list[str]) -> Any:
    """The value under nested keys, or under one key that spells several parts with points; None where there is none."""
    if not parts or not isinstance(value, dict):
        return None if parts else value
    for cut in range(1, len(parts) + 1):
        found = _find(value.get(".".join(parts[:cut])), parts[cut:])
        if found is not None:
            return found
    return None
