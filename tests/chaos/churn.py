"""An endless log whose entities come and go: each lives for some events of a demo host, under a name of its own."""

import itertools
from collections.abc import Iterator

import numpy as np

from support.demo import demo_frame

ACTIVE = 60
LIFE = 150
"""Events of one entity; then another takes its place."""

STEP_MS = 100
BLOCK = 10_000


def churn(first_ms: int, hours: tuple[int, int] = (8, 14), active: int = ACTIVE) -> Iterator[list[tuple[bytes, bytes]]]:
    """Blocks of (entity, line), `active` entities taking turns; the lines' time goes on by STEP_MS an event."""
    hosts = _hosts(hours)
    names, places = itertools.count(), itertools.count()
    slots: list[tuple[bytes, list[bytes], int, int]] = [
        _entity(next(names), hosts, turn * LIFE // active) for turn in range(active)
    ]
    while True:
        times = np.arange(BLOCK) * STEP_MS + first_ms
        first_ms += BLOCK * STEP_MS
        stamps = np.datetime_as_string(times.astype("datetime64[ms]"), timezone="UTC").astype("S")
        block = []
        for stamp in stamps:
            slot = next(places) % active
            name, tails, start, done = slots[slot]
            level, rest = tails[(start + done) % len(tails)].split(b" ", 1)
            block.append((name, b"%s %s %s %s" % (stamp, level, name, rest)))
            slots[slot] = (name, tails, start, done + 1) if done + 1 < LIFE else _entity(next(names), hosts, 0)
        yield block


def _entity(number: int, hosts: list[list[bytes]], born_ago: int) -> tuple[bytes, list[bytes], int, int]:
    """Those of the beginning were born before it, or all would end at one moment."""
    return b"host-%d" % number, hosts[number % len(hosts)], number * 37, born_ago


def _hosts(hours: tuple[int, int]) -> list[list[bytes]]:
    """Each host's lines without time and name: `LEVEL service: message`."""
    by_host: dict[str, list[bytes]] = {}
    for entity, text in demo_frame(hours).select("entity", "line").iter_rows():
        _, level, _, rest = text.split(" ", 3)
        by_host.setdefault(entity, []).append(f"{level} {rest}".encode())
    return [tails for tails in by_host.values() if len(tails) >= 20]
