"""The messages of an alert, by the first characters of its id, where its pipeline wrote them."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.config import Config
from longwatch.pipeline.errors import InputError, UsageError

SHORTEST = 4
_ELSEWHERE = "give its JSON with --alert FILE, or - for standard input"


def find_alert(config: Config, alert_id: str, given: Path | None = None) -> list[Alert]:
    """All messages of the alert, by revision; UsageError where none, or more than one alert, begins so."""
    if len(alert_id) < SHORTEST:
        raise UsageError(f"`{alert_id}` is too short for an alert's id", f"give at least {SHORTEST} of its characters")
    values = _values(config) if given is None else _given(given)
    found: dict[str, dict[int, Alert]] = {}
    for value in values:
        # Looked for in the bytes first: most messages are another alert's, and are not decoded.
        if alert_id.encode() not in value:
            continue
        alert = _decoded(value)
        if alert is not None and alert.alert_id.startswith(alert_id):
            found.setdefault(alert.alert_id, {})[alert.revision] = alert
    if len(found) == 1:
        return [alert for _, alert in sorted(next(iter(found.values())).items())]
    if found:
        raise UsageError(f"{len(found)} alerts begin with `{alert_id}`", "give more of its characters")
    raise UsageError(f"no alert begins with `{alert_id}`", f"look at its id again; or {_ELSEWHERE}")


def _decoded(value: bytes) -> Alert | None:
    try:
        return msgspec.json.decode(value, type=Alert)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _given(path: Path) -> Iterator[bytes]:
    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "look at path and rights", source=str(path)) from error
    yield from (text.splitlines() if _decoded(text) is None else [text])


def _values(config: Config) -> Iterable[bytes]:
    if config.sink.kafka is not None:
        return _of_topics(config)
    sink = config.sink.embedded
    if sink is not None and sink.file is not None and sink.file.exists():
        return sink.file.read_bytes().splitlines()
    return [] if sink is None else _of_database(sink.database)


def _of_topics(config: Config) -> Iterator[bytes]:
    from longwatch.pipeline.kafka_offsets import log_bounds
    from longwatch.pipeline.kafka_topics import describe_topic
    from longwatch.pipeline.kafka_watchdog import Watchdog
    from longwatch.pipeline.kafka_worker import kafka_settings, output_topics
    from longwatch.pipeline.verify.topics import read_committed

    client, watchdog, sink = kafka_settings(config), Watchdog(), config.sink.kafka
    names = [] if sink is None else [name for kind, name in output_topics(config, sink).items() if kind.holds_alert]
    bounds = log_bounds(client, [describe_topic(client, name) for name in names], watchdog)
    for name in names:
        for written in read_committed(client, name, bounds[name], watchdog):
            yield written.content.value


def _of_database(path: Path) -> list[bytes]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as database:
            query = "SELECT value FROM outputs WHERE kind IN ('alert', 'suppressed') ORDER BY id"
            return [value for (value,) in database.execute(query)]
    except sqlite3.Error as error:
        hint = f"a running worker holds its database: {_ELSEWHERE}, or write alerts to `sink.embedded.file` too"
        raise InputError(f"alerts cannot be read: {error}", hint, source=str(path)) from error
