"""Which entities one of several processes answers for, when they read the same partitions of a history."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import polars as pl


@dataclass(frozen=True)
class Share:
    """Share `index` of `count`: each entity is in one of them, on any machine; the first also counts the records."""

    index: int = 0
    count: int = 1

    @property
    def is_all(self) -> bool:
        """Whether there is no other share."""
        return self.count == 1

    @property
    def leads(self) -> bool:
        """Whether it answers for what belongs to no entity."""
        return self.index == 0

    def own(self, entities: pl.Series) -> pl.Series:
        """Which rows are of its entities, Boolean."""
        names = entities.unique()
        mine = [name for name in names.to_list() if _hash(name) % self.count == self.index]
        return entities.is_in(mine)


WHOLE = Share()

OWN = "own"
"""The column that marks the share's events among those that only tell the time."""


def num_own(events: pl.DataFrame) -> int:
    """How many of them are the share's."""
    return int(events[OWN].sum()) if OWN in events.columns else len(events)


@lru_cache(1 << 16)
def _hash(entity: str) -> int:
    digest = blake2b(entity.encode("utf-8", "surrogatepass"), digest_size=8, person=b"lw-share").digest()
    return int.from_bytes(digest, "big")
