"""Faults between a worker and its broker: nothing lost, nothing doubled, and alive again soon after."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.proxy import Proxy
from chaos.proxy_run import HEALED_S, Outcome, proxied_kafka, run
from chaos.proxy_schedule import draw_schedule, each_kind_once
from support.kafka_broker import KafkaForTests

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

SEED = 6
AGAIN = "PYTHONPATH=tests python -m chaos.proxy_run --seed {seed} --minutes {minutes}"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaForTests, Proxy]]:
    with proxied_kafka(tmp_path_factory.mktemp("proxied"), SEED) as both:
        yield both


def assert_nothing_lost_or_doubled(done: Outcome, folder: Path, again: str) -> None:
    said = f"replay with: {again}\n{(folder / 'faults.jsonl').read_text()}"
    log = (folder / "shaken" / "worker.log").read_text()[-6000:]
    assert done.shaken == done.calm, f"{done.lost} lost, {done.doubled} doubled; {said}\n{log}"
    assert done.healed_s < HEALED_S, f"the alert came {done.healed_s:.1f} s after healing; {said}\n{log}"


def test_every_kind_of_network_fault_costs_no_alert_and_doubles_none(proxied, tmp_path: Path) -> None:
    kafka, proxy = proxied
    done = run(kafka, proxy, tmp_path, each_kind_once(SEED), lines=600)
    assert_nothing_lost_or_doubled(done, tmp_path, f"pytest tests/chaos/test_network.py, SEED = {SEED}")
    assert len(done.calm) > 20
    assert done.connections["reset"] >= 3
    assert done.connections["dead"] >= 2
    assert done.stop[0] == 0
    assert done.stop[1] < 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_minutes_of_faults_and_two_broker_restarts_cost_nothing(proxied, tmp_path: Path) -> None:
    kafka, proxy = proxied
    done = run(kafka, proxy, tmp_path, draw_schedule(SEED, 10.0), lines=6000)
    assert_nothing_lost_or_doubled(done, tmp_path, AGAIN.format(seed=SEED, minutes=10))
    assert max(done.longest.values()) < 25
