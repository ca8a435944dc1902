"""OpenTelemetry log records as OTLP/JSON: a bare LogRecord, or an envelope that holds exactly one."""

from typing import Any

from longwatch.pipeline.decode.fields import FieldTemplate
from longwatch.pipeline.decode.jsonl import JsonReader, RefusedError
from longwatch.pipeline.decode.timestamps import TimestampReader

_SCALARS = ("boolValue", "intValue", "doubleValue", "bytesValue")


def otel_reader(message: str, entity: str | None = None) -> JsonReader:
    """Paths: `body`, `severityText`, `traceId` ... of the record, `attributes.<key>`, `resource.<key>`, `scope.<key>`.

    The event time is timeUnixNano, else observedTimeUnixNano. An envelope of several records is `json_invalid`: one
    record is one event, so the collector has to be told to export them one by one.
    """
    return JsonReader(
        time=("timeUnixNano", "observedTimeUnixNano"),
        timestamps=TimestampReader("epoch_ns"),
        message=FieldTemplate(message),
        entity=entity,
        unwrap=unwrap,
    )


def unwrap(record: dict[str, Any]) -> dict[str, Any]:
    """The log record with its AnyValues made plain and its attribute lists made objects; raises `RefusedError`."""
    resource, scope = record.get("resource"), record.get("scope")
    if "resourceLogs" in record:
        record, resource, scope = _only_record(record)
    return {
        **record,
        "body": _plain(record.get("body")),
        "attributes": _attributes(record.get("attributes")),
        "resource": _attributes(_member(resource, "attributes")),
        "scope": _attributes(_member(scope, "attributes")) | {"name": _member(scope, "name")},
    }


def _only_record(envelope: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    found = [
        (record, _member(resource_logs, "resource"), _member(scope_logs, "scope"))
        for resource_logs in _items(envelope["resourceLogs"])
        for scope_logs in _items(_member(resource_logs, "scopeLogs"))
        for record in _items(_member(scope_logs, "logRecords"))
    ]
    if len(found) != 1:
        raise RefusedError(
            "json_invalid",
            f"the OTLP envelope holds {len(found)} log records and one per Kafka record is expected; "
            "have the exporter write one log record per message (batch size 1)",
        )
    record, resource, scope = found[0]
    if not isinstance(record, dict):
        raise RefusedError("json_invalid", "logRecords[0] of the OTLP envelope is not an object")
    return record, resource, scope


def _attributes(pairs: Any) -> dict[str, Any]:
    """An attribute list as an object; an object stays one; anything malformed is left out."""
    if isinstance(pairs, dict):
        return pairs
    return {
        pair["key"]: _plain(pair.get("value"))
        for pair in _items(pairs)
        if isinstance(pair, dict) and isinstance(pair.get("key"), str)
    }


def _plain(value: Any) -> Any:
    """An AnyValue as the plain value it wraps; a plain value stays as it is."""
    if not isinstance(value, dict):
        return value
    if "stringValue" in value:
        return value["stringValue"]
    if "arrayValue" in value:
        return [_plain(item) for item in _items(_member(value["arrayValue"], "values"))]
    if "kvlistValue" in value:
        return _attributes(_member(value["kvlistValue"], "values"))
    return next((value[name] for name in _SCALARS if name in value), value)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
