"""Writes hostile records and batches between good ones, lets a real worker read them, and compares with a run without.

PYTHONPATH=tests python -m chaos.hostile --records 100000 --seed 1
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from chaos.hostile_batches import hostile_batch, kinds, overwrite, placeholder
from chaos.hostile_records import Record, hostile, line
from chaos.peak import wait_for_peak
from longwatch.pipeline.alerts import AlertKey
from longwatch.pipeline.records import Partition
from longwatch.pipeline.verify.fields import SCORE_TOLERANCE
from support.demo import SMALL_WINDOWS, demo_frame
from support.kafka_broker import KafkaForTests, running_broker
from support.live import Live, make_live

RSS_CAP_MIB = 512
"""What ops/GUARANTEES.md says of a worker with the shipped bundle and the defaults."""

MIB = 1 << 20
FIRST_TIME = "2026-11-02T08:00:00.000Z"
PATIENCE_S = 1500
CHANGES: dict[str, object] = {
    "format": {"json": {"timestamp": {"field": "timestamp"}, "message": "{message}"}},
    "entity": {"field": "host"},
    # No idle_timeout: a producer that lies about the time of a record could close windows with it.
    "windows": SMALL_WINDOWS,
}


@dataclass
class Written:
    """What stands in a topic: the offsets of good records in order, of hostile ones by kind, and planted batches."""

    good: list[int] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    batches: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How much of what; everything else follows from the seed."""

    seed: int
    records: int
    good: int
    batches: int
    bomb_bytes: int


def good_lines(count: int) -> list[bytes]:
    """The demo's hours as JSON lines."""
    frame = demo_frame((8, 14)).head(count)
    assert len(frame) == count, f"the demo has {len(frame)} lines in these hours, {count} are asked for"
    fields = frame.select("event_time_ms", "entity", "line").iter_rows()
    return [line(text.split(" ", 1)[0], entity, text.split(" ", 3)[3]) for _, entity, text in fields]


class Writer:
    """Writes one topic: records in order, batches of their own where they will be planted."""

    def __init__(self, kafka: KafkaForTests, topic: str, producer: Any, at_ms: int) -> None:
        self._topic = topic
        self._producer = producer
        self._at_ms = at_ms
        self._folder = Path(kafka.broker.data_dir) / "log" / f"{topic}-0"  # type: ignore[attr-defined]
        self._next = 0
        self._futures: list[Any] = []
        self.written = Written()

    def good(self, value: bytes) -> None:
        """A neighbour."""
        self.written.good.append(self._send(None, value, self._at_ms, ()))

    def hostile(self, record: Record) -> None:
        """A hostile record."""
        at_ms = self._at_ms if record.arrival_ms is None else record.arrival_ms
        offset = self._send(record.key, record.value, at_ms, record.headers)
        self.written.kinds[record.kind] += 1
        if record.bad:
            self.written.bad[offset] = record.kind

    def batch(self, name: str, kind: Any, payload: bytes) -> None:
        """A batch of the size of a hostile one, whose place that will take."""
        self.flush()
        base = self._next
        content = hostile_batch(kind, payload, base, self._at_ms)
        for key, value in placeholder(len(content)):
            offset = self._send(key, value, self._at_ms, ())
            self.written.bad[offset] = name
        self.flush()
        self.written.kinds[name] += 1
        self.written.batches[base] = content

    def plant(self) -> None:
        """Overwrite the placeholders in the broker's files."""
        self.flush()
        overwrite(self._folder, self.written.batches)

    def flush(self) -> None:
        """Everything written so far is in the log, at the offsets that were counted."""
        self._producer.flush()
        for offset, future in self._futures:
            assert future.get(60).offset == offset
        self._futures.clear()

    def _send(self, key: bytes | None, value: bytes | None, at_ms: int, headers: tuple[tuple[str, bytes], ...]) -> int:
        offset, self._next = self._next, self._next + 1
        self._futures.append((offset, self._producer.send(self._topic, value, key, list(headers), 0, at_ms)))
        return offset


def write(kafka: KafkaForTests, topic: str, plan: Plan, *, with_hostile: bool) -> Written:
    """The good lines, and between them what the seed says."""
    options = {"max_request_size": 64 * MIB, "batch_size": 8 * MIB, "linger_ms": 1000, "enable_idempotence": False}
    at_ms = time.time_ns() // 1_000_000
    with kafka.producer(max_in_flight_requests_per_connection=1, **options) as producer:
        writer = Writer(kafka, topic, producer, at_ms)
        for step in _steps(plan):
            if isinstance(step, bytes):
                writer.good(step)
            elif with_hostile:
                writer.hostile(step) if isinstance(step, Record) else writer.batch(*step)
        writer.plant()
    return writer.written


def _steps(plan: Plan) -> Iterator[Any]:
    """Good lines, hostile records and hostile batches in an order of the seed's; payloads are made once a kind."""
    draw = random.Random(plan.seed)
    all_kinds = kinds(plan.bomb_bytes)
    order = ["good"] * plan.good + ["record"] * plan.records + ["batch"] * plan.batches
    draw.shuffle(order)
    lines, names, made, number = iter(good_lines(plan.good)), list(all_kinds), 0, 0
    payloads: dict[str, bytes] = {}
    now = FIRST_TIME
    for what in order:
        if what == "good":
            text = next(lines)
            now = json.loads(text)["timestamp"]
            yield text
        elif what == "record":
            yield hostile(draw, number, now)
            number += 1
        else:
            name = names[made % len(names)]
            made += 1
            if not name.startswith("bomb") or name not in payloads:
                payloads[name] = all_kinds[name].payload(draw)
            yield name, all_kinds[name], payloads[name]


def run(kafka: KafkaForTests, folder: Path, plan: Plan) -> dict[str, Any]:
    """Both runs and what they differ in; `problems` is empty when all holds."""
    topics = [kafka.create_topic(max_message_bytes=str(64 * MIB)) for _ in range(2)]
    clean, dirty = (make_live(kafka, folder / name, topic, CHANGES) for name, topic in zip("cd", topics, strict=True))
    write(kafka, clean.topic, plan, with_hostile=False)
    written = write(kafka, dirty.topic, plan, with_hostile=True)
    base_mib, _ = _peak(clean)
    peak_mib, seconds = _peak(dirty)
    problems = [*_letter_problems(dirty, written), *_alert_problems(clean, dirty, written)]
    if peak_mib > RSS_CAP_MIB:
        problems.append(f"peak RSS {peak_mib} MiB, the cap is {RSS_CAP_MIB}")
    return {
        "seed": plan.seed,
        "records": plan.records,
        "batches": plan.batches,
        "good": plan.good,
        "bomb_bytes": plan.bomb_bytes,
        "dead_offsets": len(written.bad),
        "alerts": len(clean.alerts()),
        "peak_mib": peak_mib,
        "peak_mib_without": base_mib,
        "cap_mib": RSS_CAP_MIB,
        "worker_seconds": seconds,
        "kinds": dict(sorted(written.kinds.items())),
        "problems": problems,
    }


def _peak(live: Live) -> tuple[int, float]:
    started = time.monotonic()
    code, peak_mib = wait_for_peak(live.start(), PATIENCE_S)
    assert code == 0, live.log.read_text(errors="replace")[-4000:]
    return peak_mib, round(time.monotonic() - started, 1)


def _letter_problems(live: Live, written: Written) -> Iterator[str]:
    """Every bad offset in one dead letter, and nothing else in any."""
    covered: Counter[int] = Counter()
    for letter in live.kafka.read(f"{live.outputs}.dlq"):
        said = {name: value.decode() for name, value in letter.headers}
        first = int(said["longwatch.offset"])
        covered.update(range(first, int(said.get("longwatch.next_offset", first + 1))))
    for offset in sorted(covered.keys() | written.bad.keys()):
        wanted = int(offset in written.bad)
        if covered[offset] != wanted:
            yield f"offset {offset} ({written.bad.get(offset, 'good')}): {covered[offset]} dead letters, not {wanted}"
    if late := live.kafka.read(f"{live.outputs}.late"):
        yield f"{len(late)} late events"


def _alert_problems(clean: Live, dirty: Live, written: Written) -> Iterator[str]:
    """The neighbours' alerts, field by field; offsets are counted in good records, so that both logs count alike."""
    place = {offset: index for index, offset in enumerate(written.good)}
    expected = _by_place(clean, dict(zip(range(len(place)), range(len(place)), strict=True)))
    found = _by_place(dirty, place)
    if not expected:
        yield "no alert at all: nothing is compared"
    for key in sorted(expected.keys() ^ found.keys(), key=repr):
        yield f"alert {key} is in one run only"
    for key in sorted(expected.keys() & found.keys()):
        yield from (f"alert {key}: {text}" for text in _differences("", found[key], expected[key]))


def _by_place(live: Live, place: dict[int, int]) -> dict[tuple[Any, ...], Any]:
    """{(entity, first event, rule, revision): alert} without what names the topic; odd entities are left out."""
    found: dict[tuple[Any, ...], Any] = {}
    for alert in live.alerts():
        if alert.entity.startswith("odd-"):
            continue
        source = Partition(alert.source.topic, alert.source.topic_id, alert.source.partition)
        rule = f"{alert.rule}/{alert.kind}"
        assert alert.alert_id == AlertKey(source, alert.entity, alert.window.first_offset, rule).alert_id
        plain = msgspec.to_builtins(alert) | {"alert_id": "", "source": {"at": _at(place, alert.source.trigger_offset)}}
        for name in ("first_offset", "last_offset"):
            plain["window"][name] = _at(place, plain["window"][name])
        for top in plain["top_events"]:
            top["offset"] = None if top["offset"] is None else _at(place, top["offset"])
        key = (alert.entity, plain["window"]["first_offset"], rule, alert.revision)
        assert key not in found, f"{key} stands there twice"
        found[key] = plain
    return found


def _at(place: dict[int, int], offset: int) -> int | str:
    return place.get(offset, f"offset {offset}, which holds no good record")


def _differences(path: str, found: Any, expected: Any) -> Iterator[str]:
    if isinstance(found, dict):
        for name in found.keys() | expected.keys():
            yield from _differences(f"{path}.{name}", found.get(name), expected.get(name))
    elif isinstance(found, list) and len(found) == len(expected):
        for index, pair in enumerate(zip(found, expected, strict=True)):
            yield from _differences(f"{path}[{index}]", *pair)
    elif found != expected:
        score = path.endswith(("score", "surprise"))
        if not (score and round(abs(found - expected), 9) <= SCORE_TOLERANCE):
            yield f"{path}: {found!r}, without hostile records {expected!r}"


def main() -> int:
    """Command line: one JSON object on standard output, exit code 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--good", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--bomb-mib", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="longwatch-hostile-") as scratch,
        running_broker(Path(scratch) / "kafka") as kafka,
    ):
        plan = Plan(asked.seed, asked.records, asked.good, asked.batches, asked.bomb_mib * MIB)
        report = run(kafka, Path(scratch), plan)
    report["problems"], count = report["problems"][:50], len(report["problems"])
    sys.stdout.write(json.dumps(report | {"problem_count": count}) + "\n")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
