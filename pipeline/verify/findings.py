"""What a check found: counts of everything, and the first differences in full."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from longwatch.pipeline.outputs import Kind

KEPT = 1000
"""Differences kept in full; all are counted, so that a topic that is wrong throughout needs no memory."""


class Fault(StrEnum):
    """How the topics differ from the replay."""

    MISSING = "missing"
    EXTRA = "extra"
    DOUBLED = "doubled"
    CHANGED = "changed"
    REORDERED = "reordered"


@dataclass(frozen=True)
class Difference:
    """One difference: `written` is where the record stands ("" where it is missing), `cause` its input record."""

    fault: Fault
    kind: Kind
    written: str
    cause: str
    output: str
    detail: str = ""

    def __str__(self) -> str:
        place = f"{self.written}: " if self.written else ""
        because = f": {self.detail}" if self.detail else ""
        return f"{self.fault} {place}{self.output} of {self.cause}{because}"


@dataclass
class Findings:
    """`checked` outputs equal the replay's; `later` ones belong to commits after the checked one.

    `rounded` outputs equal the replay's up to the last decimals of a score.
    """

    checked: Counter[Kind] = field(default_factory=Counter)
    later: Counter[Kind] = field(default_factory=Counter)
    rounded: int = 0
    counts: Counter[tuple[Kind, Fault]] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep it while there is room."""
        self.counts[difference.kind, difference.fault] += 1
        if len(self.differences) < KEPT:
            self.differences.append(difference)

    @property
    def total(self) -> int:
        """Differences of every kind."""
        return self.counts.total()

    def as_dict(self) -> dict[str, Any]:
        """The same for machines."""
        outputs = {
            kind.value: {
                "checked": self.checked[kind],
                "later": self.later[kind],
                **{fault.value: self.counts[kind, fault] for fault in Fault},
            }
            for kind in Kind
        }
        listed = [{name: str(value) for name, value in vars(each).items()} for each in self.differences]
        return {"outputs": outputs, "rounded": self.rounded, "differences": listed}
