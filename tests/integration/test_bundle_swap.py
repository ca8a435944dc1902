"""Bundles swapped under load on a real broker: exact offsets, across kills, proven; no broken bundle holds."""

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.bundles import digest_of
from longwatch.pipeline.setting import Change
from longwatch.pipeline.window_state import BUNDLE_SWAPPED
from support.demo import HOME, demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, end, make_live, produce_lines, wait_until
from support.second_bundle import train_second

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(420)]

PARTITIONS = 2
NUM, STEP = 3150, 450
LONG = "windows.idle_timeout=1h"


class Deployed:
    """A pipeline whose bundle is swapped while its worker runs, and the folder that bundles are kept in."""

    def __init__(self, live: Live, settings: str, folder: Path) -> None:
        self.live, self.settings, self.folder = live, settings, folder

    def write(self, bundle: str) -> None:
        """Have the file name another bundle."""
        self.live.config.write_text(json.dumps(json.loads(self.live.config.read_text()) | self.named(bundle)))

    def named(self, bundle: str) -> dict[str, str]:
        return {"bundle": str(self.folder / bundle)}

    def turn(self, bundle: str) -> None:
        """Have the link `current` lead to another bundle, in one step."""
        link = self.folder / ".next"
        link.symlink_to(self.folder / bundle)
        link.replace(self.folder / "current")

    def broken(self, name: str, file: str) -> None:
        """A copy of the second bundle with one byte of a file flipped; without the file where it is the vocabulary."""
        path = Path(shutil.copytree(self.folder / "second", self.folder / name)) / file
        if file == "vocabulary.json":
            path.unlink()
        else:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    @property
    def changes(self) -> list[Change]:
        return [msgspec.json.decode(record.value, type=Change) for record in self.live.kafka.read(self.settings)]

    def swapped(self, times: int) -> bool:
        """Whether each partition has been under so many bundles, one after the other."""
        return all(len(self.bundles(number)) == times for number in range(PARTITIONS))

    def bundles(self, partition: int) -> list[str]:
        """Digests in the order that they took effect in."""
        return [each.bundle for each in self.changes if each.partition == partition]

    def logged(self, event: str) -> int:
        return self.live.log.read_text().count(event)


@pytest.fixture(scope="module")
def deployed(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    folder = tmp_path_factory.mktemp("bundles")
    shutil.copytree(HOME / "bundle", folder / "first")
    train_second(folder / "second")
    lines = list(demo_frame((16, 18)).head(NUM).select("entity", "line").iter_rows())
    topic, settings = kafka.create_topic(PARTITIONS), f"{kafka.name('swap')}.settings"
    sections = {
        "reload": {"topic": settings, "look_every": "100ms", "bundles": str(folder)},
        "thresholds": {"default": {kind: {"false_alarms_per_day": 400} for kind in ("event", "window")}},
    }
    live = make_live(kafka, tmp_path_factory.mktemp("swap"), topic, sections)
    found = Deployed(live, settings, folder)
    found.turn("first")
    found.write("current")
    parts = iter([lines[at : at + STEP] for at in range(0, NUM, STEP)])
    done = 0

    def feed(wait: bool = True) -> None:
        nonlocal done
        produce_lines(kafka, topic, next(parts), PARTITIONS)
        done += STEP
        if wait:
            wait_until(lambda: live.committed_records() == done, live)

    worker = live.start(LONG, until_end=False)
    try:
        feed()
        found.turn("second")
        feed(wait=False)
        wait_until(lambda: found.swapped(2), live)
        worker.kill()
        worker.wait()
        feed(wait=False)
        worker = live.start(LONG, until_end=False)
        wait_until(lambda: live.committed_records() == done, live)
        found.broken("flipped", "model.onnx")
        found.broken("halved", "vocabulary.json")
        found.write("flipped")
        worker.send_signal(signal.SIGHUP)
        wait_until(lambda: found.logged("reload_failed") == 1, live)
        feed()
        found.write("halved")
        wait_until(lambda: found.logged("reload_failed") == 2, live)
        feed()
        shutil.copy(folder / "second" / "vocabulary.json", folder / "halved" / "vocabulary.json")
        found.write("first")
        # Dies while the partitions are read again, or before, or after: whatever the machine makes of it.
        wait_until(lambda: found.logged("reloaded") == 2, live)
        worker.kill()
        worker.wait()
        feed(wait=False)
        worker = live.start(LONG, until_end=False)
        wait_until(lambda: found.swapped(3), live)
        feed()
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    finally:
        end(worker)
    return found


def verified(live: Live, *words: str) -> tuple[int, dict[str, Any]]:
    command = [str(LONGWATCH), "verify", str(live.config), "--json", "--set", LONG, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout)


def test_each_whole_bundle_took_effect_in_each_partition_and_no_broken_one_anywhere(deployed):
    first, second = (digest_of(deployed.folder / name) for name in ("first", "second"))
    for number in range(PARTITIONS):
        assert deployed.bundles(number) == [first, second, first]
    assert deployed.logged("reload_failed") == 2
    log = deployed.live.log.read_text()
    assert "model.onnx" in log
    assert "vocabulary.json" in log


def test_every_alert_is_by_the_bundle_that_was_committed_for_its_offset(deployed):
    changes = deployed.changes

    def committed(alert: Alert) -> str:
        own = [each for each in changes if each.partition == alert.source.partition]
        closed_by_swap = alert.window.closed_by == BUNDLE_SWAPPED
        upto = alert.source.trigger_offset - closed_by_swap
        return [each for each in own if each.offset <= upto][-1].bundle

    alerts = deployed.live.alerts()
    assert [alert.digests.bundle for alert in alerts] == [committed(alert) for alert in alerts]
    assert len({alert.digests.bundle for alert in alerts}) == 2
    assert any(alert.window.closed_by == BUNDLE_SWAPPED for alert in alerts)
    assert len({(alert.alert_id, alert.revision) for alert in alerts}) == len(alerts)


def test_verify_proves_a_run_under_swaps_across_kills_whichever_bundle_it_is_given(deployed):
    for bundle in ("first", "second"):
        code, said = verified(deployed.live, "--set", f"bundle={deployed.folder / bundle}")
        assert (code, said["verdict"], said["reasons"], said["differences"]) == (0, "proven", [], [])
        assert said["outputs"]["alert"]["checked"] == len(deployed.live.alerts())


def test_a_backtest_of_the_topic_by_what_was_recorded_gives_the_alerts_of_the_live_run(deployed, tmp_path):
    """Of marks there are none, so the record is put together by hand."""
    record = {"entries": [], "effects": [], "changes": msgspec.to_builtins(deployed.changes)}
    (tmp_path / "record.json").write_text(json.dumps(record))
    words = [str(LONGWATCH), "backtest", str(deployed.live.config), "--marks", str(tmp_path / "record.json")]
    done = subprocess.run([*words, "--set", LONG, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    import polars as pl

    again = pl.read_parquet(tmp_path / "out" / "alerts.parquet").select("alert_id", "revision", "lifecycle").rows()
    live = [(each.alert_id, each.revision, each.lifecycle) for each in deployed.live.alerts()]
    assert sorted(live) == sorted(row for row in again if row in set(live))
    scores = pl.read_parquet(tmp_path / "out" / "scores" / "*.parquet").filter(pl.col("offset").is_not_null())
    assert scores.select("partition", "offset").is_unique().all(), "an event was scored for the report twice"


def test_verify_says_which_bundle_is_missing_and_what_to_do(deployed, tmp_path):
    code, said = verified(deployed.live, "--set", f"reload.bundles={tmp_path}")
    assert (code, said["verdict"]) == (2, "unchecked")
    missing = digest_of(deployed.folder / "second")[:16]
    assert f"bundle {missing}" in " ".join(said["reasons"])
    assert "reload.bundles" in " ".join(said["reasons"])
