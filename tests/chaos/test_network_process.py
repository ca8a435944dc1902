"""A worker's start and its end while the network or the broker is not there."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.proxy import Fault, Proxy
from chaos.proxy_run import PARTITIONS, behind, proxied_kafka
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import Live, end, make_live, produce_lines, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

LINES = 150


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaForTests, Proxy]]:
    with proxied_kafka(tmp_path_factory.mktemp("proxied"), 2) as both:
        yield both


@pytest.fixture(scope="module")
def calm(proxied: tuple[KafkaForTests, Proxy], tmp_path_factory: pytest.TempPathFactory) -> Live:
    """What an undisturbed worker made of the records."""
    kafka, _ = proxied
    topic = kafka.create_topic(PARTITIONS, message_timestamp_type="LogAppendTime")
    lines = demo_frame((9, 10)).head(LINES).select("entity", "line").iter_rows()
    produce_lines(kafka, topic, lines, PARTITIONS)
    live = make_live(kafka, tmp_path_factory.mktemp("calm"), topic)
    live.run()
    return live


def test_sigterm_ends_a_worker_within_5_seconds_though_the_broker_is_a_black_hole(proxied, calm, tmp_path: Path):
    kafka, proxy = proxied
    live = behind(proxy, kafka, tmp_path, calm.topic)
    worker = live.start("source.kafka.poll_records=1", until_end=False)
    try:
        wait_until(lambda: live.committed_records() > 20, live)
        proxy.apply(Fault("half_open"))
        # A commit is on its way by then, and waits.
        time.sleep(1)
        began = time.monotonic()
        worker.terminate()
        code = worker.wait(20)
        assert time.monotonic() - began < 5
        assert code == 75, live.log.read_text()
        assert "stopped_amid_work" in live.log.read_text()
        assert live.committed_records() < LINES
    finally:
        proxy.heal()
        end(worker)
    live.run()
    assert live.committed_outputs() == calm.committed_outputs()


@pytest.mark.parametrize("kind", ["refuse", pytest.param("half_open", marks=pytest.mark.slow)])
def test_a_worker_that_finds_no_broker_at_its_start_says_so_and_leaves_in_time(proxied, calm, tmp_path: Path, kind):
    kafka, proxy = proxied
    live = behind(proxy, kafka, tmp_path, calm.topic)
    proxy.apply(Fault(kind))
    try:
        worker = live.start(until_end=False)
        assert worker.wait(25) == 1
    finally:
        proxy.heal()
        end(worker)
    said = live.log.read_text()
    assert f"127.0.0.1:{proxy.port}" in said
    assert "check bootstrap_servers" in said


@pytest.mark.parametrize("client", [6, *(pytest.param(each, marks=pytest.mark.slow) for each in (2, 4, 8, 10))])
def test_a_broker_killed_while_a_worker_starts_costs_nothing(proxied, calm, tmp_path: Path, client: int):
    """Killed when the worker has made so many connections: looking at topics, joining, opening transactions."""
    kafka, proxy = proxied
    live = behind(proxy, kafka, tmp_path, calm.topic)
    before = proxy.counts["taken"]
    worker = live.start()
    try:
        wait_until(lambda: proxy.counts["taken"] >= before + client, live)
        kafka.broker.kill9()
        kafka.broker.start()
        code = worker.wait(60)
    finally:
        end(worker)
    assert code in (0, 1, 75), live.log.read_text()
    if code:
        live.run()
    assert live.committed_outputs() == calm.committed_outputs()
