"""Health of real workers: a broker that is stopped, a sink that takes nothing, and a group that another has joined."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from longwatch.pipeline.metrics.families import WORKER
from support.demo import HOME, demo_frame
from support.live import LONGWATCH, end, make_live, produce_lines
from support.scraping import labels_of, names_in, scrape, verdict

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

T = TypeVar("T")
METRICS = {"port": 0, "stalled_after": "40s", "unready_after": "4s"}


def address_in(log: Path, seconds: float = 60) -> str:
    """Where the worker says that its metrics are."""
    return until(lambda: re.findall(r"address=(http://[0-9.:]+)/metrics", log.read_text()), log, seconds)[-1]


def until(ask: Callable[[], T], log: Path, seconds: float = 60) -> T:
    """What it answers once that is true; a failure shows what the worker logged last."""
    deadline = time.monotonic() + seconds
    while not (found := answered(ask)):
        assert time.monotonic() < deadline, f"not within {seconds} s:\n{log.read_text()[-5000:]}"
        time.sleep(0.1)
    return found


def answered(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (OSError, KeyError):
        return None


def is_ready(address: str) -> bool:
    return verdict(f"{address}/readyz")[0] == 200


def reasons(address: str) -> list[str]:
    return verdict(f"{address}/readyz")[1]


@pytest.fixture
def live(kafka, tmp_path):
    topic = kafka.create_topic(partitions=2)
    live = make_live(kafka, tmp_path, topic, {"metrics": METRICS})
    live.log.touch()
    return live


def lines(count: int) -> list[tuple[str, str]]:
    frame = demo_frame((9, 11)).head(count)
    return list(zip(frame["entity"], frame["line"], strict=True))


def test_a_stopped_broker_makes_a_worker_unready_but_not_sick_and_its_return_ready_again(kafka, live):
    """An idle worker: nothing waits for a commit, and still it says that nothing can come."""
    produce_lines(kafka, live.topic, lines(300), partitions=2)
    worker, broker = live.start(until_end=False), kafka.broker.process
    try:
        address = address_in(live.log)
        until(lambda: is_ready(address), live.log)
        until(lambda: scrape(address).value("longwatch_records_total") == 300, live.log)
        until(lambda: scrape(address).value("longwatch_uncommitted_seconds") == 0, live.log)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            until(lambda: any("broker does not answer" in each for each in reasons(address)), live.log)
            assert scrape(address).value("longwatch_ready") == 0
            assert verdict(f"{address}/healthz") == (200, [])
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        until(lambda: is_ready(address), live.log)
        assert worker.poll() is None
    finally:
        end(worker)


def test_metrics_of_a_worker_agree_with_the_topics(kafka, live):
    produce_lines(kafka, live.topic, [*lines(2000), ("x", "no such header")], partitions=2)
    worker = live.start(until_end=False)
    try:
        address = address_in(live.log)
        until(lambda: scrape(address).value("longwatch_records_total") == 2001, live.log)
        # The last windows close when the topic has been silent for a while.
        until(lambda: scrape(address).value("longwatch_open_windows") == 0, live.log)
        until(lambda: scrape(address).value("longwatch_uncommitted_seconds") == 0, live.log)
        # What asks the client is said once a second.
        until(lambda: scrape(address).value("longwatch_lag_records") == 0, live.log)
        said = scrape(address)
        until(lambda: said.value("longwatch_alerts_total") == len(live.alerts()), live.log)
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    letters = kafka.read(f"{live.outputs}.dlq")
    assert said.value("longwatch_dead_letters_total", reason="header_mismatch") == len(letters) == 1
    assert len(live.alerts()) > 0
    known = {name for family in WORKER for name in family.series}
    assert {name for name in names_in(said) if name.startswith("longwatch_")} <= known
    partitions = {(("partition", str(each)), ("topic", live.topic)) for each in (0, 1)}
    assert labels_of(said, "longwatch_lag_records") == partitions
    assert said.value("longwatch_lag_records") == 0
    assert said.value("longwatch_assigned_partitions") == 2
    assert said.value("longwatch_rebalances_total") >= 1
    assert time.time() - said.value("longwatch_last_commit_timestamp_seconds") < 120


def test_a_second_worker_takes_its_share_and_both_say_so(kafka, live):
    produce_lines(kafka, live.topic, lines(200), partitions=2)
    first = live.start(instance=None, until_end=False)
    second = None
    try:
        one = address_in(live.log)
        until(lambda: scrape(one).value("longwatch_assigned_partitions") == 2, live.log)
        second = live.start(instance=None, until_end=False)
        two = until(lambda: re.findall(r"address=(http://[0-9.:]+)/metrics", live.log.read_text())[1:], live.log)[0]
        for address in (one, two):
            until(lambda at=address: scrape(at).value("longwatch_assigned_partitions") == 1, live.log)
            # A share just taken has no lag yet: the client is asked once a second.
            until(lambda at=address: len(labels_of(scrape(at), "longwatch_lag_records")) == 1, live.log)
            until(lambda at=address: is_ready(at), live.log)
    finally:
        for worker in (first, second):
            if worker is not None:
                end(worker)


def embedded(folder: Path) -> Path:
    """Prints its alerts, more than fit into a pipe."""
    (folder / "demo.log").write_text("".join(f"{line}\n" for line in demo_frame((9, 13))["line"]))
    text = (HOME / "demo.yaml").read_text().replace("bundle: bundle", f"bundle: {HOME / 'bundle'}")
    path = folder / "pipeline.yaml"
    path.write_text(
        text.replace("stdout: false", "stdout: true") + "metrics: {port: 0, stalled_after: 3s, unready_after: 1s}\n"
    )
    return path


def test_a_sink_that_blocks_makes_a_worker_unready_and_then_sick(tmp_path):
    """Nobody reads its standard output: the loop stands still in its commit, and the endpoint says so."""
    log = tmp_path / "worker.log"
    many = ("thresholds.default.event.false_alarms_per_day=400", "windows.max_events=200", "windows.overlap=32")
    with log.open("wb") as out:
        words = [str(LONGWATCH), "run", str(embedded(tmp_path)), *(word for each in many for word in ("--set", each))]
        worker = subprocess.Popen(words, stderr=out, stdout=subprocess.PIPE)
    try:
        address = address_in(log)
        until(lambda: any("stands still" in each for each in reasons(address)), log)
        until(lambda: verdict(f"{address}/healthz")[0] == 503, log)
        assert scrape(address).value("longwatch_healthy") == 0
        assert scrape(address).value("longwatch_loop_age_seconds") > 3
        alerts, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0, log.read_text()
        assert len(alerts.splitlines()) > 50
    finally:
        end(worker)
