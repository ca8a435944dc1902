"""How long to wait before the next try."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MOST_DOUBLINGS = 60


@dataclass(frozen=True)
class Backoff:
    """Exponential with full jitter: anything between nothing and a limit that doubles up to `longest_s`."""

    first_s: float
    longest_s: float
    draw: Callable[[], float] = random.random

    def limit_s(self, failures: int) -> float:
        """Longest pause after so many failures in a row, the first being 1."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))

    def pause_s(self, failures: int) -> float:
        """A random pause up to the limit, so that many relays do not come back at once."""
        return self.draw() * self.limit_s(failures)


def retry_after_s(header: str | None, now_ms: int) -> float | None:
    """Seconds that a `Retry-After` asks for, in either of its forms; None when there is none that can be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(min(int(text[:12]), 10**9))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() - now_ms / 1000)
