"""Past records for `train` and `backtest`: files, or a range of the configured topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from longwatch.pipeline.clock import Clock, SystemClock
from longwatch.pipeline.config import Config
from longwatch.pipeline.errors import InputError, UsageError
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.sources.local import POLL_RECORDS, open_files, open_local
from longwatch.pipeline.sources.range import RangeSource
from longwatch.pipeline.sources.stdin import StdinSource

BoundedSource = FilesSource | StdinSource | RangeSource


def bounded_source(
    config: Config,
    files: Sequence[Path] = (),
    start: str | None = None,
    end: str | None = None,
    *,
    clock: Clock | None = None,
    poll_records: int = POLL_RECORDS,
    offsets: Mapping[int, tuple[int, int]] | None = None,
) -> BoundedSource:
    """`files` where given, else the configured source from `start` to `end` (a topic's: a time, or an offset).

    `offsets` are a topic's ranges by partition, where somebody has looked them up before; then not `start` and `end`.
    """
    clock = clock or SystemClock()
    if missing := [str(path) for path in files if not path.exists()]:
        # Before any broker is asked how its topic looks: that one is away would hide it.
        raise InputError(f"{', '.join(missing)}: no such file", "name files of lines, plain, .gz or .zst")
    if files:
        return open_files(config, files, _shape(config, files), clock.now_ms(), poll_records=poll_records)
    if config.source.kafka is None:
        return open_local(config, clock, poll_records=poll_records)
    from longwatch.pipeline.kafka_range import Bound, KafkaRange
    from longwatch.pipeline.kafka_worker import kafka_settings

    first, last = _bound(start), _bound(end)
    if offsets is not None:
        first, last = (Bound(offsets={each: both[at] for each, both in offsets.items()}) for at in (0, 1))
    return RangeSource(KafkaRange(kafka_settings(config), config.source.kafka.topic, first, last))


def event_time_ms(text: str) -> int:
    """Milliseconds of an ISO 8601 time, UTC where it names no zone; raises UsageError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"`{text}` is no time", "write it as 2026-11-24T08:00:00Z or 2026-11-24") from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _shape(config: Config, paths: Sequence[Path]) -> TopicShape:
    """Lines given on the command line are numbered as the configured source's would be."""
    files, kafka = config.source.files, config.source.kafka
    if files is not None and files.as_topic is not None:
        return TopicShape(files.as_topic.name, files.as_topic.id or "", files.as_topic.partitions)
    if kafka is not None:
        from longwatch.pipeline.kafka_topics import describe_topic
        from longwatch.pipeline.kafka_worker import kafka_settings

        topic = describe_topic(kafka_settings(config), kafka.topic)
        return TopicShape(topic.name, topic.topic_id, topic.partitions)
    return TopicShape.of(paths)


def _bound(text: str | None):  # type: ignore[no-untyped-def]
    from longwatch.pipeline.kafka_range import Bound

    if text is None:
        return Bound()
    return Bound(offset=int(text)) if text.isdecimal() else Bound(time_ms=event_time_ms(text))
