"""What a check says, and how the whole examination ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNASKED = "could not ask"


@dataclass(frozen=True)
class Answer:
    """One answer; `hint` is what to do next, empty where nothing is to be done."""

    check: str
    state: State
    said: str
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self) | {"state": self.state.value}


def exit_code(answers: Iterable[Answer]) -> int:
    """1 where a check failed, else 0."""
    return int(any(answer.state is State.FAILED for answer in answers))
