"""One event of one entity through the whole engine, after more and more history: milliseconds, and does the cost stay?

    PYTHONPATH=tests OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python ops/benchmarks/one_event.py

No broker: decode, templates, windows, network and detector of a warm engine, one record a call, the thread's CPU beside
the wall. The window is never closed: its history is what was read before. `slope` is the growth of the median cost
from the shortest history to the longest, as a share. JSON lines.
"""

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import polars as pl
from worker import device, past_ms, peak_rss_mib

from chaos.churn import _hosts
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.records import RECORD_SCHEMA, RecordBatch
from support.demo import LOGS, demo_config, demo_engine

OPEN = {"windows.max_events": "200000", "windows.max_duration": "30d", "windows.idle_gap": "1d"}
CHUNK = 4096


def lines(first_ms: int) -> Iterator[bytes]:
    """One host's lines, 100 ms apart, without an end."""
    tails, number = _hosts((8, 14))[0], 0
    while True:
        stamp = np.datetime_as_string(np.datetime64(first_ms + 100 * number, "ms"), timezone="UTC").encode()
        level, rest = tails[number % len(tails)].split(b" ", 1)
        yield b"%s %s host-1 %s" % (stamp, level, rest)
        number += 1


class Feed:
    """An engine and the records that it is given next."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lines = lines(past_ms())
        self._offset = engine.assign(LOGS, None, 0)

    def give(self, count: int) -> tuple[float, float]:
        """Process so many records in one call; gives seconds of wall and of this thread's CPU."""
        offsets = range(self._offset, self._offset + count)
        self._offset += count
        values = [next(self._lines) for _ in offsets]
        columns = {"offset": offsets, "timestamp_ms": [-1] * count, "key": [None] * count, "value": values}
        batch = RecordBatch(LOGS, pl.DataFrame(columns, schema=RECORD_SCHEMA), self._offset)
        wall, own = time.perf_counter(), time.thread_time()
        self._engine.process([batch])
        return time.perf_counter() - wall, time.thread_time() - own

    def reach(self, events: int) -> None:
        """Have so many events of history."""
        while self._offset < events:
            self.give(min(CHUNK, events - self._offset))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--history", type=int, nargs="+", default=[1000, 4000, 16_000, 64_000])
    options.add_argument("--events", type=int, default=1024, help="one at a time, at each history")
    given = options.parse_args()
    feed, medians = Feed(demo_engine(demo_config(OPEN))), []
    for history in given.history:
        feed.reach(history)
        wall, own = (1000 * np.array(each) for each in zip(*(feed.give(1) for _ in range(given.events)), strict=True))
        medians.append(float(np.median(own)))
        about = {"benchmark": "one_event", "history": history, "events": given.events}
        figures = {"p50_ms": np.median(wall), "p99_ms": np.percentile(wall, 99), "p50_cpu_ms": medians[-1]}
        rounded = {name: round(float(value), 3) for name, value in figures.items()}
        print(json.dumps({**about, **rounded, "peak_rss_mib": peak_rss_mib(), **device()}), flush=True)
    print(json.dumps({"benchmark": "one_event", "slope": round(medians[-1] / medians[0] - 1, 3)}))


if __name__ == "__main__":
    main()
