"""Opens the sources that need no broker."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config
from longwatch.pipeline.decode import decoder_for
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.sources.stdin import StdinSource

POLL_RECORDS = 4096
DAY_MS = 86_400_000


def end_of_day_ms(day: date) -> int:
    """A day's last moment: lines of that day are not ahead of it."""
    return ((day - date(1970, 1, 1)).days + 1) * DAY_MS


def open_local(config: Config, clock: Clock, *, poll_records: int = POLL_RECORDS) -> FilesSource | StdinSource:
    """The configured files or standard input; lines arrive at the clock's present, or on the day `written`."""
    files, max_bytes = config.source.files, config.format.max_bytes.bytes
    if files is not None:
        shape = TopicShape.of(files.paths)
        if files.as_topic is not None:
            shape = TopicShape(files.as_topic.name, files.as_topic.id or "", files.as_topic.partitions)
        arrival_ms = clock.now_ms() if files.written is None else end_of_day_ms(files.written)
        return open_files(config, files.paths, shape, arrival_ms, poll_records=poll_records)
    name = config.source.stdin.name if config.source.stdin is not None else "stdin"
    if sys.stdin is None:
        raise InputError("standard input is closed", "pipe lines into longwatch, or configure `source.files`")
    return StdinSource(sys.stdin.buffer, name, clock.now_ms, max_bytes=max_bytes)


def open_files(
    config: Config, paths: Sequence[Path], shape: TopicShape, arrival_ms: int, *, poll_records: int = POLL_RECORDS
) -> FilesSource:
    """Files numbered as the topic `shape` would hold their lines."""
    return FilesSource(
        paths,
        shape,
        decoder_for(config.format, config.entity),
        arrival_ms=arrival_ms,
        max_bytes=config.format.max_bytes.bytes,
        poll_records=poll_records,
    )
