"""A sink that takes nothing for minutes while records go on coming: what the worker holds, and how it comes back.

make blocked SECONDS=600 SEED=1 [RATE=1000] [KIND=half_open]

The proxy stands between the producer and the broker only; the source reaches the broker directly, so the member could
stay in its group and could read on. Prints one JSON line; exit code 1 unless all of must-show 8 holds.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from chaos.blocked_watch import Feeder, Watched
from chaos.outcome import NAMES, outcome
from chaos.proxy import Fault, Kind, Proxy
from chaos.proxy_run import proxied_kafka
from chaos.stream import Stream
from longwatch.pipeline.kafka_client import ConfigResource
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY
from support.kafka_broker import KafkaForTests
from support.live import Live, end, make_live, wait_until

PARTITIONS = 3
REPLICAS = "replicas"
"""Not the network: the broker refuses outputs, as they would have too few replicas."""

PATIENCE_S = 120.0
CAUGHT_UP_S = 1.0
"""So many seconds of arrivals may be on their way when a worker counts as caught up."""

FACTOR = 5.0
MORE_MIB = 32.0
"""How much more than at any time before the block a worker may hold while blocked: noise of an allocator."""

CHANGES: dict[str, object] = {
    "windows": {"max_events": 200, "overlap": 32, "idle_gap": "20m", "max_duration": "1d"},
    "thresholds": {"default": {kind: {"false_alarms_per_day": 400} for kind in ("event", "window")}},
}
FEEDING = {"linger_ms": 20, "batch_size": 128 * 1024, "compression_type": "lz4"}


@contextmanager
def watched(kafka: KafkaForTests, proxy: Proxy, live: Live, seed: int, rate: int) -> Iterator[Watched]:
    """A worker whose sink is behind the proxy, and the feeder before it."""
    words = [sys.executable, "-m", "chaos.blocked_worker", str(proxy.port), "--log-format", "json"]
    words += ["run", str(live.config), "--instance", "w1"]
    # Its days go on for as long as it is fed: far back, so that none lies in the future.
    stream = Stream(kafka, live.topic, PARTITIONS, seed, DEMO_FIRST_DAY - timedelta(days=90), **FEEDING)
    with live.log.open("wb") as log, kafka.admin() as admin:
        worker = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            yield Watched(live, worker, Feeder(stream, rate), admin)
        finally:
            stream.close()
            proxy.heal()
            end(worker)


def run(
    kafka: KafkaForTests, proxy: Proxy, folder: Path, seconds: float, seed: int, rate: int, kind: str
) -> dict[str, Any]:
    """Undisturbed for a while, blocked for `seconds`, then free again until it has caught up; then a calm run."""
    live = make_live(kafka, folder / "blocked", kafka.create_topic(PARTITIONS), CHANGES)
    calm_s = min(60.0, max(6.0, seconds / 4))
    with watched(kafka, proxy, live, seed, rate) as seen:
        seen.feeder.begin()
        wait_until(lambda: live.committed_records() > 0, live, PATIENCE_S)
        before = seen.stay(calm_s)
        members, said_before = set(seen.members), seen.progress()
        block(live, proxy, kind)
        blocked = seen.stay(seconds)
        said_blocked = seen.progress()
        release(live, proxy, kind)
        healed = time.monotonic()
        caught_up = seen.until(
            lambda: seen.last.written - seen.last.committed <= CAUGHT_UP_S * rate, PATIENCE_S + seconds
        )
        caught = time.monotonic()
        after = seen.stay(calm_s)
        written = seen.feeder.stream.produced
        seen.feeder.stream.flush()
        drained = seen.until(lambda: seen.last.committed == written, PATIENCE_S, feeding=False)
        seen.worker.terminate()
        code = seen.worker.wait(30)
    calm = make_live(kafka, folder / "calm", live.topic, CHANGES)
    calm.run()
    difference = outcome(live).against(outcome(calm))
    spans = {"before": (before, blocked), "blocked": (blocked, healed), "catch_up": (healed, caught)}
    looks = {name: seen.between(*span) for name, span in (spans | {"after": (after, time.monotonic())}).items()}
    resumed = next((look.at for look in looks["catch_up"] if look.committed > looks["blocked"][-1].committed), caught)
    done = seen.last.committed if not looks["catch_up"] else looks["catch_up"][-1].committed
    stood = looks["blocked"][-1].committed
    factor = (done - stood) / (caught - healed) / rate
    mib = {name: [look.rss_mib for look in found] for name, found in looks.items()}
    return {
        "benchmark": "blocked",
        "seconds": seconds,
        "seed": seed,
        "kind": kind,
        "arrival_per_second": rate,
        "records": written,
        "backlog": looks["blocked"][-1].written - stood,
        "committed_while_blocked": stood - looks["blocked"][0].committed,
        "rss_mib": {
            name: {
                "first": round(found[0]),
                "median": round(statistics.median(found)),
                "peak": round(max(found)),
                "last": round(found[-1]),
            }
            for name, found in mib.items()
            if found
        },
        "cpu_cores": {
            name: round((found[-1].cpu_s - found[0].cpu_s) / (found[-1].at - found[0].at), 3)
            for name, found in looks.items()
            if len(found) > 1
        },
        "read_while_blocked": said_blocked.get("records", 0) - said_before.get("records", 0),
        "aborted": said_blocked.get("aborted"),
        "evictions": len(seen.members - members),
        "members": len(seen.members),
        "first_commit_after_s": round(resumed - healed, 2),
        "caught_up": caught_up,
        "caught_up_after_s": round(caught - healed, 2),
        "catch_up_factor": round(factor, 2),
        "drained": drained,
        "lost": len(difference.lost),
        "doubled": len(difference.doubled),
        "unexpected": len(difference.unexpected),
        "changed": len(difference.changed),
        "out_of_order": out_of_order(live),
        "outputs": outcome(calm).kinds,
        "exit_code": code,
    }


def block(live: Live, proxy: Proxy, kind: str) -> None:
    """Let no output through from now on."""
    if kind == REPLICAS:
        need_replicas(live, 2)
    else:
        proxy.apply(Fault(kind))  # type: ignore[arg-type]


def release(live: Live, proxy: Proxy, kind: str) -> None:
    """Undo `block`."""
    if kind == REPLICAS:
        need_replicas(live, 1)
    else:
        proxy.heal()


def need_replicas(live: Live, number: int) -> None:
    """Have the broker, which is one, take outputs only where so many of it hold them."""
    with live.kafka.admin() as admin:
        topics = [f"{live.outputs}.{name}" for name in NAMES]
        admin.alter_configs([ConfigResource("TOPIC", topic, {"min.insync.replicas": str(number)}) for topic in topics])


def out_of_order(live: Live) -> int:
    """Alert messages of an entity that stand behind one that a later record of its partition triggered."""
    last: dict[tuple[str, int], int] = {}
    wrong = 0
    for alert in live.alerts():
        key = (alert.entity, alert.source.partition)
        wrong += alert.source.trigger_offset < last.get(key, -1)
        last[key] = max(last.get(key, -1), alert.source.trigger_offset)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--kind", choices=(*get_args(Kind), REPLICAS), default="half_open")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="longwatch-blocked-") as scratch:
        folder = Path(scratch)
        with proxied_kafka(folder / "broker", given.seed) as (kafka, proxy):
            report = run(kafka, proxy, folder, given.seconds, given.seed, given.rate, given.kind)
        (Path("/tmp/blocked.log")).write_text((folder / "blocked" / "worker.log").read_text())
    report |= {"longwatch": version("longwatch"), "python": platform.python_version(), "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
