"""A million events through a worker that is killed now and then: `verify` proves the topics, and finds what is planted.

PYTHONPATH=tests python -m chaos.verify_run --events 1000000 --seed 1
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from chaos.stream import Stream
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY
from support.demo import SMALL_WINDOWS
from support.kafka_broker import KafkaForTests, running_broker
from support.live import LONGWATCH, Live, make_live
from support.planting import Record, changed, doubled, dropped, planted, swapped, written

PARTITIONS = 3
KILLS = 3
KILL_AFTER_S = 20.0
CHANGES: dict[str, object] = {"windows": SMALL_WINDOWS}
PLANTS: dict[str, Callable[[list[Record], int], list[Record]]] = {
    "missing": dropped,
    "doubled": doubled,
    "changed": changed,
    "reordered": swapped,
}


def run(kafka: KafkaForTests, folder: Path, events: int, seed: int) -> dict[str, Any]:
    """Produces, runs the worker to the end with a few kills, and verifies the topics as they are and with faults."""
    topic = kafka.create_topic(PARTITIONS)
    # A million lines are a month: all of it in the past, for what lies in the future is a dead letter.
    stream = Stream(kafka, topic, PARTITIONS, seed, DEMO_FIRST_DAY - timedelta(days=90))
    stream.produce(events)
    stream.close()
    live = make_live(kafka, folder / "live", topic, CHANGES)
    started = time.monotonic()
    _work(live)
    report: dict[str, Any] = {"benchmark": "verify", "events": events, "seed": seed}
    report["worker_s"] = round(time.monotonic() - started, 1)
    started = time.monotonic()
    report["clean"] = _verdict(live)
    report["verify_s"] = round(time.monotonic() - started, 1)
    records = written(live)
    report["alert_messages"] = len(records)
    draw = random.Random(seed)
    # From the last to the first, so that a fault does not move the places of those that follow.
    places = sorted((draw.randrange(len(records) * 9 // 10) for _ in PLANTS), reverse=True)
    for plant, place in zip(PLANTS.values(), places, strict=True):
        records = plant(records, place)
    report["planted"] = _verdict(live, planted(live, records))
    found = {each for each, count in report["planted"]["faults"].items() if count}
    report["holds"] = report["clean"]["exit_code"] == 0 and not report["clean"]["differences"] and found == set(PLANTS)
    return report


def _work(live: Live) -> None:
    for _ in range(KILLS):
        worker = live.start()
        try:
            worker.wait(timeout=KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            worker.kill()
        worker.wait()
    assert live.start().wait() == 0, live.log.read_text()[-4000:]


def _verdict(live: Live, *settings: str) -> dict[str, Any]:
    words = [str(LONGWATCH), "verify", str(live.config), "--json"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout or "{}")
    alerts = said.get("outputs", {}).get("alert", {})
    return {
        "exit_code": done.returncode,
        "verdict": said.get("verdict"),
        "reasons": said.get("reasons"),
        "records": said.get("records"),
        "checked": {name: output["checked"] for name, output in said.get("outputs", {}).items()},
        "faults": {name: alerts.get(name, 0) for name in PLANTS},
        "differences": len(said.get("differences", [])),
    }


def main() -> int:
    """Command line: one JSON object on standard output, exit code 1 unless all holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="longwatch-verify-") as scratch,
        running_broker(Path(scratch) / "kafka") as kafka,
    ):
        report = run(kafka, Path(scratch), asked.events, asked.seed)
    sys.stdout.write(json.dumps(report) + "\n")
    return int(not report["holds"])


if __name__ == "__main__":
    sys.exit(main())
