"""Embedded mode: one SQLite database holds outputs and positions, in one transaction; no broker.

Alerts are also written to a file or to standard output, after the transaction: at least once, as after any crash
between the two the rows not marked delivered are written again, with the same alert_id and revision.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from longwatch.pipeline.checkpoint import Position, decode_position
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition

SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL, topic_id TEXT NOT NULL, partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL, metadata TEXT NOT NULL,
    PRIMARY KEY (topic, topic_id, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outputs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, topic_id TEXT NOT NULL, partition INTEGER NOT NULL,
    trigger_offset INTEGER NOT NULL, key BLOB, value BLOB NOT NULL, headers TEXT NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS outputs_waiting ON outputs (id) WHERE delivered = 0;
"""

Deliver = Callable[[Sequence[bytes]], None]


class EmbeddedStore:
    """Outputs and positions in one SQLite database; `deliver` gets each committed alert, in order.

    Raises:
        StateError: the database cannot be opened, is another program's, or is in use by another worker.
    """

    def __init__(self, path: Path, deliver: Sequence[Deliver] = ()) -> None:
        self._path = path
        self._deliver = tuple(deliver)
        self._connection = _open(path)
        self._relay()

    def committed(self, partition: Partition) -> Position | None:
        """Last committed position of a partition; None where nothing was."""
        row = self._connection.execute(
            "SELECT next_offset, metadata FROM positions WHERE topic = ? AND topic_id = ? AND partition = ?",
            (partition.topic, partition.topic_id, partition.partition),
        ).fetchone()
        return None if row is None else decode_position(partition, row[0], row[1])

    def commit(self, outputs: list[Output], positions: dict[Partition, Position]) -> None:
        """Outputs and positions in one transaction, synced to disk; then alerts are delivered.

        Raises:
            StateError: the database cannot be written; nothing of the commit is in it.
        """
        with _told(self._path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT INTO outputs (kind, topic_id, partition, trigger_offset, key, value, headers, delivered)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(output) for output in outputs],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
                [
                    (item.topic, item.topic_id, item.partition, position.next_offset, position.encode_metadata())
                    for item, position in positions.items()
                ],
            )
        self._relay()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def read(self, kind: Kind) -> list[tuple[bytes | None, bytes, str]]:
        """All outputs of a kind as (key, value, headers as JSON), in commit order."""
        query = "SELECT key, value, headers FROM outputs WHERE kind = ? ORDER BY id"
        return self._connection.execute(query, (kind.value,)).fetchall()

    def _relay(self) -> None:
        with _told(self._path):
            rows = self._connection.execute("SELECT id, value FROM outputs WHERE delivered = 0 ORDER BY id").fetchall()
        if not rows:
            return
        for deliver in self._deliver:
            deliver([value for _, value in rows])
        with _told(self._path), self._connection:
            self._connection.execute("UPDATE outputs SET delivered = 1 WHERE delivered = 0 AND id <= ?", (rows[-1][0],))


def _row(output: Output) -> tuple[object, ...]:
    headers = {name: value.decode() for name, value in output.headers}
    return (
        output.kind.value,
        output.partition.topic_id,
        output.partition.partition,
        output.trigger_offset,
        output.key,
        output.value,
        msgspec.json.encode(headers).decode(),
        int(output.kind is not Kind.ALERT),
    )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as StateError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(
            f"{path}: alerts and offsets cannot be written: {error}",
            hint="free the disk or correct the permissions and start again; it goes on from the last commit",
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=5)
    except (sqlite3.Error, OSError) as error:
        raise _unusable(path, error) from error
    try:
        _set_up(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except StateError:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    """Takes the database for this process alone; looks whose it is before anything is written."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise StateError(
            f"{path}: written by database version {version}, this longwatch reads {SCHEMA_VERSION}",
            hint="run the longwatch version that wrote it, or name a new path under sink.embedded.database",
        )
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not version and not tables <= {"positions", "outputs"}:
        raise _unusable(path, f"it holds the tables {', '.join(sorted(tables))}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with connection, closing(connection.cursor()) as cursor:
        cursor.executescript(_TABLES)
        cursor.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _unusable(path: Path, why: object) -> StateError:
    return StateError(
        f"{path}: cannot be used as longwatch's database: {why}",
        hint="only one worker may use it at a time; if it is another program's file, name another path"
        " under sink.embedded.database",
    )
