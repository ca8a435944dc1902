"""Whose behaviour an event belongs to: record key, header group, field, or a pattern in the text."""

from dataclasses import dataclass
from typing import Self

import polars as pl

from longwatch.pipeline.config.format import Entity
from longwatch.pipeline.decode.header import all_groups, check_pattern
from longwatch.pipeline.decode.lines import to_text

LONGEST_ENTITY = 1024


@dataclass(frozen=True)
class EntityReader:
    """Gives each row its entity: the record's key, what `pattern` finds in the message or the whole line, `value`,
    or (with none of them) what the format's reader took from a header group or a field.

    The pattern's group `entity` counts, else its first group, else all it matches. Raises ValueError for a pattern
    that does not compile.
    """

    from_key: bool = False
    pattern: str | None = None
    in_line: bool = False
    value: str | None = None

    def __post_init__(self) -> None:
        if self.pattern is not None:
            check_pattern(self.pattern, "entity.pattern")

    @classmethod
    def of(cls, entity: Entity) -> Self:
        """As configured; for a group or a field the format's reader does the reading."""
        return cls(entity.from_ == "key", entity.pattern, entity.in_ == "line", entity.value)

    def read(self, rows: pl.DataFrame, keys: pl.Series, lines: pl.Series) -> pl.Series:
        """Entity of each row, String; null where there is none, it is empty, or longer than `LONGEST_ENTITY`."""
        entity = self._raw(rows, keys, lines)
        length = entity.str.len_chars()
        return entity.set(~length.is_between(1, LONGEST_ENTITY).fill_null(False), None)

    def _raw(self, rows: pl.DataFrame, keys: pl.Series, lines: pl.Series) -> pl.Series:
        if self.from_key:
            return to_text(keys)
        if self.value is not None:
            return pl.Series([self.value]).new_from_index(0, len(rows))
        if self.pattern is None:
            return rows["entity"]
        return (lines if self.in_line else rows["message"]).str.extract(self.pattern, _group_index(self.pattern))


def _group_index(pattern: str) -> int:
    """Number of the group that holds the entity; 0 is the whole match."""
    groups = all_groups(pattern)
    return groups.index("entity") + 1 if "entity" in groups else min(len(groups), 1)
