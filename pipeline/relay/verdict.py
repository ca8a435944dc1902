"""What came of one try to deliver."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Delivered:
    """The target has it."""


@dataclass(frozen=True)
class TryAgain:
    """It may work later; `after_s` is how long the target asked to be left alone."""

    why: str
    after_s: float | None = None


@dataclass(frozen=True)
class Refused:
    """It will not work however often it is tried; `reason` is one word for filters, `why` is for a person."""

    reason: str
    why: str


Verdict = Delivered | TryAgain | Refused
