"""What was read from the output topics, on disk: a check of long topics needs no more memory than one of short ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.records import Partition
from longwatch.pipeline.verify.record import Content, Identity, Written

_SCHEMA = """
CREATE TABLE written (
    kind TEXT, source INTEGER, name TEXT, trigger_offset INTEGER, alert TEXT, revision INTEGER,
    topic TEXT, partition INTEGER, offset INTEGER, key BLOB, value BLOB, headers BLOB, expected INTEGER DEFAULT 0
);
CREATE INDEX by_name ON written (kind, source, name);
"""
_ROW = "trigger_offset, alert, revision, topic, partition, offset, key, value, headers"
_HEADERS = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])

Entry = tuple[Identity, Written]


class Ledger:
    """Records of one input topic by kind, partition and identity; `path` is a file of its own, gone when closed."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = sqlite3.connect(":memory:" if path is None else path)
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")

    def write(self, kind: Kind, identity: Identity, written: Written) -> None:
        """Take a record."""
        content = written.content
        self._database.execute(
            f"INSERT INTO written (kind, source, name, {_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                kind.value,
                identity.source.partition,
                identity.key,
                identity.trigger_offset,
                identity.name,
                identity.revision,
                written.topic,
                written.partition,
                written.offset,
                content.key,
                content.value,
                msgspec.msgpack.encode(content.headers),
            ),
        )

    def take(self, kind: Kind, identity: Identity) -> list[Written]:
        """All records of this identity, as they stand in the topics; they then count as expected."""
        where = (kind.value, identity.source.partition, identity.key)
        condition = "kind = ? AND source = ? AND name = ?"
        rows = self._database.execute(
            f"SELECT {_ROW} FROM written WHERE {condition} ORDER BY topic, partition, offset",  # noqa: S608
            where,
        ).fetchall()
        self._database.execute(f"UPDATE written SET expected = 1 WHERE {condition}", where)  # noqa: S608
        return [_entry(identity.source, row)[1] for row in rows]

    def unexpected(self, source: Partition) -> Iterator[tuple[Kind, Identity, Written]]:
        """Records of one input partition that `take` never asked for."""
        rows = self._database.execute(
            f"SELECT {_ROW}, kind FROM written WHERE expected = 0 AND source = ? ORDER BY topic, partition, offset",  # noqa: S608
            (source.partition,),
        )
        for row in rows:
            yield (Kind(row[-1]), *_entry(source, row[:-1]))

    def sources(self) -> list[int]:
        """Numbers of the input partitions that have records."""
        return [row[0] for row in self._database.execute("SELECT DISTINCT source FROM written ORDER BY source")]

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _entry(source: Partition, row: tuple[Any, ...]) -> Entry:
    trigger, alert, revision, topic, partition, offset, key, value, headers = row
    content = Content(key, value, _HEADERS.decode(headers))
    return Identity(source, trigger, alert, revision), Written(topic, partition, offset, content)
