"""What the log says of a partition that is taken up again, and how far all of them have come."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sources import Source

log = structlog.get_logger("longwatch.worker")


def announce(partition: Partition, position: Position, replay_from: int) -> None:
    """Log from where a partition is read again, and whether what its windows began with is gone."""
    distance = position.next_offset - replay_from
    log.info("resumed", partition=str(partition), offset=position.next_offset, replay=distance)
    if replay_from > position.metadata.replay_from:
        log.warning(
            "history_truncated",
            partition=str(partition),
            wanted=position.metadata.replay_from,
            first_kept=replay_from,
            effect="alerts of windows that began before are marked partial",
            action="raise the topic's retention above windows.max_duration",
        )


def unread(source: Source, engine: Engine) -> dict[Partition, int]:
    """Records not yet read; only where the source knows the end."""
    ends, read = source.known_ends(), engine.next_offsets
    return {each: max(0, end - read[each]) for each, end in ends.items() if each in read}


def check_whole(rebuilding: Mapping[Partition, tuple[int, int]]) -> None:
    """Raise InputError where a source ended before the records that an earlier run committed."""
    for partition, (held, committed) in rebuilding.items():
        raise InputError(
            f"{committed} records were read in an earlier run, and now there are {held}",
            "they were cut or replaced since: give the new ones a database of their own",
            source=str(partition),
        )
