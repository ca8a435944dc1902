"""Thresholds reloaded under load on a real broker: exact offsets, across kills, proven by verify; no bad file holds."""

import json
import signal
import subprocess
from typing import Any

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.config import load_config
from longwatch.pipeline.setting import Change
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, end, make_live, produce_lines, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PARTITIONS = 2
NUM, STEP = 3000, 600
PLAIN = {"default": {kind: {"false_alarms_per_day": 400} for kind in ("event", "window")}}
STRICT = {"default": {kind: {"false_alarms_per_day": 30} for kind in ("event", "window")}}
RULED = PLAIN | {"rules": [{"name": "web", "match": {"entity": "web-*"}, "window": {"false_alarms_per_day": 300}}]}


class Reloaded:
    """A pipeline whose file is rewritten while its worker runs."""

    def __init__(self, live: Live, settings: str) -> None:
        self.live, self.settings = live, settings
        self.digests: list[str] = [load_config(live.config).digest]

    def write(self, thresholds: dict[str, Any]) -> str:
        """Rewrite the file in place; gives its digest."""
        self._write(json.loads(self.live.config.read_text()) | {"thresholds": thresholds})
        self.digests.append(load_config(self.live.config).digest)
        return self.digests[-1]

    def spoil(self) -> str:
        """Write what no worker may go by; gives what was there."""
        good = self.live.config.read_text()
        self._write(json.loads(good) | {"thresholds": {"default": {"event": {"quantil": 0.5}}}})
        return good

    def _write(self, sections: dict[str, Any]) -> None:
        self.live.config.write_text(json.dumps(sections))

    @property
    def changes(self) -> list[Change]:
        return [msgspec.json.decode(record.value, type=Change) for record in self.live.kafka.read(self.settings)]

    def took_effect(self, digest: str) -> bool:
        return {each.partition for each in self.changes if each.config == digest} == set(range(PARTITIONS))

    def logged(self, event: str) -> int:
        return self.live.log.read_text().count(event)


@pytest.fixture(scope="module")
def reloaded(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Reloaded:
    lines = list(demo_frame((16, 18)).head(NUM).select("entity", "line").iter_rows())
    topic, settings = kafka.create_topic(PARTITIONS), f"{kafka.name('reload')}.settings"
    sections = {"reload": {"topic": settings, "look_every": "100ms"}, "thresholds": PLAIN}
    live = make_live(kafka, tmp_path_factory.mktemp("reload"), topic, sections)
    found = Reloaded(live, settings)
    parts = [lines[at : at + STEP] for at in range(0, NUM, STEP)]
    worker = live.start("windows.idle_timeout=1h", until_end=False)
    try:
        produce_lines(kafka, topic, parts[0], PARTITIONS)
        wait_until(lambda: live.committed_records() == STEP, live)
        strict = found.write(STRICT)
        produce_lines(kafka, topic, parts[1], PARTITIONS)
        wait_until(lambda: found.took_effect(strict_digest(found, strict)), live)
        worker.kill()
        worker.wait()
        produce_lines(kafka, topic, parts[2], PARTITIONS)
        worker = live.start("windows.idle_timeout=1h", until_end=False)
        wait_until(lambda: live.committed_records() == 3 * STEP, live)
        good = found.spoil()
        worker.send_signal(signal.SIGHUP)
        wait_until(lambda: found.logged("reload_failed"), live)
        produce_lines(kafka, topic, parts[3], PARTITIONS)
        wait_until(lambda: live.committed_records() == 4 * STEP, live)
        live.config.write_text(good)
        worker.kill()
        worker.wait()
        found.write(RULED)
        produce_lines(kafka, topic, parts[4], PARTITIONS)
        live.run_until(NUM, "windows.idle_timeout=1h")
    finally:
        end(worker)
    return found


def strict_digest(found: Reloaded, _: str) -> str:
    """As the worker has it, whose `--set` is part of its digest."""
    return load_config(found.live.config, {"windows.idle_timeout": "1h"}).digest


def verified(live: Live, *words: str) -> tuple[int, dict[str, Any]]:
    command = [str(LONGWATCH), "verify", str(live.config), "--json", "--set", "windows.idle_timeout=1h", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout)


def test_each_good_file_took_effect_once_in_each_partition_and_the_broken_one_nowhere(reloaded):
    by_partition = {
        number: [each.config for each in reloaded.changes if each.partition == number] for number in range(PARTITIONS)
    }
    assert by_partition[0] == by_partition[1]
    assert len(by_partition[0]) == len(set(by_partition[0])) == 3
    assert reloaded.logged("reload_failed") == 1
    assert "unknown key `quantil`" in reloaded.live.log.read_text()


def test_every_alert_carries_the_digest_that_was_committed_for_its_offset(reloaded):
    def committed(alert: Alert) -> str:
        own = [each for each in reloaded.changes if each.partition == alert.source.partition]
        return [each for each in own if each.offset <= alert.source.trigger_offset][-1].config

    alerts = reloaded.live.alerts()
    assert [alert.digests.config for alert in alerts] == [committed(alert) for alert in alerts]
    assert len({alert.digests.config for alert in alerts}) == 3


def test_verify_proves_a_run_under_reloads_across_kills(reloaded):
    code, said = verified(reloaded.live)
    assert (code, said["verdict"], said["reasons"], said["differences"]) == (0, "proven", [], [])
    assert said["outputs"]["alert"]["checked"] == len(reloaded.live.alerts())


def test_verify_proves_nothing_where_it_is_not_told_what_was_in_force(reloaded, tmp_path):
    """The mutant of the promise: without the recorded changes the run is not the one that this file gives."""
    other = reloaded.live.kafka.create_topic(1)
    code, said = verified(reloaded.live, "--set", f"reload.topic={other}")
    assert (code, said["verdict"]) == (2, "unchecked")
    assert "configurations that are not recorded" in " ".join(said["reasons"])
