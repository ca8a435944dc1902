"""How a history is divided among processes so that together they give what one of them would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from longwatch.pipeline.records import Partition
from longwatch.pipeline.share import WHOLE, Share


@dataclass(frozen=True)
class Part:
    """Whole partitions, or a share of the entities of one."""

    partitions: tuple[Partition, ...]
    share: Share = WHOLE


def parts_of(partitions: Sequence[Partition], processes: int, *, by_entity: bool = True) -> list[Part]:
    """At most `processes` parts, each with something to read; whole partitions where there are as many of those.

    Thresholds that follow the stream learn from all windows of a partition: then not `by_entity`.
    """
    ordered = sorted(partitions)
    if len(ordered) >= processes or not by_entity:
        groups = [tuple(ordered[at::processes]) for at in range(processes)]
        return [Part(group) for group in groups if group]
    return [
        Part((partition,), Share(index, count))
        for at, partition in enumerate(ordered)
        for count in [(processes - at - 1) // len(ordered) + 1]
        for index in range(count)
    ]
