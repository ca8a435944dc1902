"""Marks and where they took effect, as a worker recorded them: from its topics, its database, or a file of both."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from longwatch.pipeline.config import Config
from longwatch.pipeline.config.feedback import Feedback
from longwatch.pipeline.errors import InputError, UsageError
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.feedback.mark_file import FileMarkLog
from longwatch.pipeline.feedback.marks import Entry, MarkBook
from longwatch.pipeline.feedback.silence import Effect, Timeline
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Change


class Record(msgspec.Struct, frozen=True):
    """All that a replay needs: the entries of the log of marks as (place, entry, end), every effect and change."""

    entries: list[tuple[int, Entry, int]]
    effects: list[Effect]
    changes: list[Change] = []

    def past(self) -> Past:
        """The same, for an engine."""
        book, timelines = MarkBook(), dict[Partition, Timeline]()
        for place, entry, upto in self.entries:
            book.add(place, msgspec.json.encode(entry), upto)
        for effect in self.effects:
            partition = Partition(effect.topic, effect.topic_id, effect.partition)
            timelines.setdefault(partition, Timeline()).add(effect)
        return Past(book, timelines, self.changes)


def require_feedback(config: Config) -> Feedback:
    """The section; UsageError where there is none."""
    if config.feedback is None:
        raise UsageError("the configuration has no `feedback`", "write `feedback: {}` and start the worker again")
    return config.feedback


def read_file(path: Path) -> Record:
    """What `longwatch feedback export` wrote."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(
            f"cannot be read as recorded marks: {error}", "`longwatch feedback export` writes them", source=str(path)
        ) from error


def read_record(config: Config) -> Record:
    """What was recorded up to now; waits for transactions that are open."""
    feedback = require_feedback(config)
    if config.sink.kafka is None:
        return Record(_book_of_file(feedback).entries, _effects_of_database(config))
    # Effects first: every mark that one of them names was in its topic before.
    effects = _effects_of_topic(config, feedback)
    return Record(_book_of_topic(config, feedback).entries, effects, _changes_of_topic(config))


def read_book(config: Config) -> MarkBook:
    """The log of marks up to now."""
    feedback = require_feedback(config)
    if config.sink.kafka is None:
        return _book_of_file(feedback)
    return _book_of_topic(config, feedback)


def _book_of_file(feedback: Feedback) -> MarkBook:
    marks = FileMarkLog(feedback.file, MarkBook())
    before = -1
    while marks.book.upto > before:
        before = marks.book.upto
        marks.look()
    return marks.book


def _effects_of_database(config: Config) -> list[Effect]:
    sink = config.sink.embedded
    if sink is None or not sink.database.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{sink.database}?mode=ro", uri=True, timeout=1)) as database:
            query = "SELECT value FROM outputs WHERE kind = ? ORDER BY id"
            rows: list[Any] = database.execute(query, (Kind.EFFECT.value,)).fetchall()
    except sqlite3.Error as error:
        raise InputError(
            f"where marks took effect cannot be read: {error}",
            "a running worker holds its database: stop it first",
            source=str(sink.database),
        ) from error
    return [msgspec.json.decode(value, type=Effect) for (value,) in rows]


def _changes_of_topic(config: Config) -> list[Change]:
    if config.reload is None:
        return []
    from longwatch.pipeline.kafka_changes import read_changes
    from longwatch.pipeline.kafka_watchdog import Watchdog
    from longwatch.pipeline.kafka_worker import kafka_settings

    return read_changes(kafka_settings(config), config.reload.topic, Watchdog())


def _book_of_topic(config: Config, feedback: Feedback) -> MarkBook:
    from longwatch.pipeline.kafka_marks import read_log
    from longwatch.pipeline.kafka_worker import kafka_settings

    return read_log(kafka_settings(config), feedback.topic)


def _effects_of_topic(config: Config, feedback: Feedback) -> list[Effect]:
    from longwatch.pipeline.kafka_offsets import log_bounds
    from longwatch.pipeline.kafka_topics import describe_topic
    from longwatch.pipeline.kafka_watchdog import Watchdog
    from longwatch.pipeline.kafka_worker import kafka_settings
    from longwatch.pipeline.verify.topics import read_committed

    client, watchdog = kafka_settings(config), Watchdog()
    bounds = log_bounds(client, [describe_topic(client, feedback.effects)], watchdog)[feedback.effects]
    found = read_committed(client, feedback.effects, bounds, watchdog)
    try:
        return [msgspec.json.decode(written.content.value, type=Effect) for written in found]
    except msgspec.DecodeError as error:
        raise InputError(
            f"a record is no effect of a mark: {error}",
            "give `feedback.effects` a topic of its own",
            source=feedback.effects,
        ) from error
