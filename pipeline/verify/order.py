"""Whether records stand in the order in which a worker writes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.verify.record import Identity, Written


@dataclass
class _Last:
    """The last record of one input partition in one partition of an output topic."""

    trigger_offset: int
    place: str
    revisions: dict[str, int] = field(default_factory=dict)


class OrderCheck:
    """Within a partition of an output topic, what one input partition caused stands in the order of its records.

    Outputs that the very same record caused may stand in any order, but for the messages of one alert.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[Kind, str, int, int], _Last] = {}

    def out_of_order(self, kind: Kind, identity: Identity, written: Written) -> str | None:
        """What is wrong with the place of the next record of a topic; None when nothing is."""
        where = (kind, written.topic, written.partition, identity.source.partition)
        last = self._last.get(where)
        if last is None or identity.trigger_offset != last.trigger_offset:
            self._last[where] = _Last(identity.trigger_offset, written.place, {identity.name: identity.revision})
        if last is None or identity.trigger_offset > last.trigger_offset:
            return None
        if identity.trigger_offset < last.trigger_offset:
            return f"behind {last.place}, which {identity.source}@{last.trigger_offset} caused"
        before = last.revisions.get(identity.name, 0)
        last.revisions[identity.name] = identity.revision
        last.place = written.place
        return f"behind its own revision {before}" if identity.name and before > identity.revision else None
