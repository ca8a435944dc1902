"""Layouts of log lines that are known, the more telling first; each is tried with the decoder itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Yaml = dict[str, Any]

# (name, pattern of the time, its format)
TIMES = (
    ("ISO 8601", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "iso8601"),
    ("slashed date", r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "%Y/%m/%d %H:%M:%S"),
    ("HDFS date", r"\d{6} \d{6}", "%y%m%d %H%M%S"),
    ("short date", r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d", "%y/%m/%d %H:%M:%S"),
    ("compact date", r"\d{8}-\d{1,2}:\d{1,2}:\d{1,2}", "%Y%m%d-%H:%M:%S"),
    ("English date", r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}", "%a %b %e %H:%M:%S %Y"),
    ("epoch seconds", r"\d{10}(?:\.\d+)?", "epoch_s"),
    ("epoch milliseconds", r"\d{13}", "epoch_ms"),
)
_LEVEL = r"(?P<level>[A-Z][A-Za-z]{3,7})"

# (name, what follows the time, message, groups that may be the entity)
RESTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("time host LEVEL", rf" (?P<host>[A-Za-z]\S*) {_LEVEL}:? (?P<message>.*)", "{level} {message}", ("host",)),
    (
        "time LEVEL host service:",
        rf" {_LEVEL} (?P<host>[^\s:\[\]]+) (?P<service>[^\s:]+): (?P<message>.*)",
        "{level} {service} {message}",
        ("host", "service"),
    ),
    (
        "time thread LEVEL component:",
        rf" (?P<thread>\d+) {_LEVEL} (?P<component>[^\s:]+): ?(?P<message>.*)",
        "{level} {component} {message}",
        ("component", "thread"),
    ),
    (
        "time - LEVEL [thread:component] -",
        rf",?\d* - {_LEVEL} +\[(?P<thread>.*?)\] - (?P<message>.*)",
        "{level} {message}",
        ("thread",),
    ),
    (
        "time LEVEL [thread] component:",
        rf" {_LEVEL} +\[(?P<thread>[^\]]+)\] (?P<component>[^\s:]+): ?(?P<message>.*)",
        "{level} {component} {message}",
        ("component", "thread"),
    ),
    (
        "time LEVEL component:",
        rf" {_LEVEL} +(?P<component>[^\s:]+): (?P<message>.*)",
        "{level} {component} {message}",
        ("component",),
    ),
    ("time] [level] (Apache)", r"\] \[(?P<level>\w+)\] (?P<message>.*)", "{level} {message}", ()),
    ("time LEVEL", rf" \[?{_LEVEL}\]?:? +(?P<message>.*)", "{level} {message}", ()),
    (
        "time:ms|component|user|",
        r"(?::\d+)?\|(?P<component>[^|]*)\|(?P<user>[^|]*)\|(?P<message>.*)",
        "{component} {message}",
        ("user", "component"),
    ),
    ("time", r"\W+(?P<message>.*)", "{message}", ()),
)


@dataclass(frozen=True)
class Layout:
    """`format` as YAML has it; `entities` as YAML has them, with what each is for a person."""

    name: str
    format: Yaml
    entities: tuple[tuple[str, Yaml], ...] = ()


def layouts(lines: list[str]) -> Iterator[Layout]:
    """Layouts to try, those first that say most about a line."""
    yield from _json_layouts(lines)
    yield Layout("syslog, RFC 5424", {"rfc5424": {}}, _fields("host", "app"))
    yield Layout("syslog, RFC 3164", {"rfc3164": {}}, _fields("host", "app"))
    yield _ACCESS
    yield _BGL
    for rest, pattern, message, entities in RESTS:
        for name, time, format_ in TIMES:
            header = rf"\[?(?P<timestamp>{time})\]?{pattern}"
            text = {"header": header, "timestamp": {"format": format_}, "message": message}
            yield Layout(f"{name}, then `{rest}`", {"text": text}, _groups(*entities))


def _groups(*names: str) -> tuple[tuple[str, Yaml], ...]:
    return tuple((f"the {name} in the header", {"group": name}) for name in names)


def _fields(*names: str) -> tuple[tuple[str, Yaml], ...]:
    return tuple((f"the field `{name}`", {"field": name}) for name in names)


_ACCESS = Layout(
    "web server access log",
    {
        "text": {
            "header": r'(?P<client>\S+) \S+ \S+ \[(?P<timestamp>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>[^ "?]*)[^"]*" '
            r"(?P<status>\d{3}) \S+.*",
            "timestamp": {"format": "%d/%b/%Y:%H:%M:%S %z"},
            "message": "{method} {path} {status}",
        }
    },
    _groups("client"),
)
_BGL = Layout(
    "supercomputer RAS log (BGL, Thunderbird)",
    {
        "text": {
            "header": r"\S+ (?P<timestamp>\d{10}) \d{4}\.\d\d\.\d\d (?P<host>\S+) \S+ \S+ (?P<message>.*)",
            "timestamp": {"format": "epoch_s"},
        }
    },
    _groups("host"),
)
_TIME_FIELDS = ("timestamp", "@timestamp", "time", "ts", "eventTime", "date")
_MESSAGE_FIELDS = ("message", "msg", "log", "eventName", "event", "body")
_ENTITY_FIELDS = ("host", "hostname", "host.name", "service", "user", "userIdentity.arn", "sourceIPAddress", "source")


def _json_layouts(lines: list[str]) -> Iterator[Layout]:
    """One layout for each field that holds a time, where the first line is a JSON object."""
    try:
        first = json.loads(lines[0]) if lines else None
    except ValueError:
        return
    if not isinstance(first, dict):
        return
    messages = [name for name in _MESSAGE_FIELDS if name in first]
    for name in filter(first.__contains__, _TIME_FIELDS):
        for format_ in ("iso8601", "epoch_s", "epoch_ms", "epoch_ns"):
            stamp = {"field": name, "format": format_}
            message = f"{{{messages[0]}}}" if messages else "{" + "} {".join(list(first)[:4]) + "}"
            yield Layout(
                f"JSON, time in `{name}`", {"json": {"timestamp": stamp, "message": message}}, _fields(*_ENTITY_FIELDS)
            )
