"""Another bundle takes over a partition at a commit: what is open there is read again, as after a restart."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sources import Source

log = structlog.get_logger("longwatch.worker")


def swap(engine: Engine, source: Source, committed: Mapping[Partition, Position]) -> list[Partition]:
    """Swap the partitions that wait for it and are committed as they stand; gives those that are read again."""
    positions = engine.positions()
    ready = [each for each in engine.swaps if each in committed and committed[each] == positions.get(each)]
    for partition in ready:
        replay_from = engine.swap(partition, readable_from=source.readable_from(partition))
        source.seek(partition, replay_from)
        offset = committed[partition].next_offset
        log.info("swapped", partition=str(partition), offset=offset, replay=offset - replay_from)
    return ready
