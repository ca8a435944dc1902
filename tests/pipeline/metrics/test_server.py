"""The endpoint answers whoever may ask, on this machine alone unless told otherwise."""

import socket
import time

import pytest
from structlog.testing import capture_logs

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.config import Metrics
from longwatch.pipeline.errors import ConfigError, FencedError
from longwatch.pipeline.metrics.opened import worker_metrics
from longwatch.pipeline.metrics.server import MOST_REQUESTS
from support.demo import demo_config, demo_model
from support.scraping import ask, metrics_config, scrape, verdict

TOKEN = "a-token-that-is-long-enough"


@pytest.fixture
def address(opened):
    return f"http://127.0.0.1:{opened.port}"


def test_nothing_is_served_unless_configured():
    with worker_metrics(demo_config(), ManualClock(), "w1") as opened:
        assert opened is None


def test_it_listens_on_this_machine_alone_by_default():
    assert Metrics().host == "127.0.0.1"


def test_metrics_say_what_runs(address):
    said = scrape(address)
    about = {"role": "worker", "pipeline": "demo", "instance": "w1"}
    assert said.value("longwatch_up_info", **about) == 1
    assert said.value("longwatch_bundle_info", bundle=demo_model().bundle.digest[:16]) == 1
    assert said.value("process_resident_memory_bytes") > 1e6


def test_health_is_a_status_and_the_reasons(opened, address):
    assert verdict(f"{address}/healthz") == (200, [])
    assert verdict(f"{address}/readyz") == (503, ["the group has assigned nothing yet"])
    assert scrape(address).value("longwatch_ready") == 0
    opened.pulse.beat(joined=True, answers=True, waiting_since=None)
    assert verdict(f"{address}/readyz") == (200, [])
    assert scrape(address).value("longwatch_ready") == 1


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", ""])
def test_a_name_that_is_not_this_machines_gets_no_metrics(address, host):
    """A page in a browser that has its own name point here (DNS rebinding) reads nothing."""
    assert ask(f"{address}/metrics", {"Host": host})[0] == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(address, method):
    assert ask(f"{address}/metrics", method=method)[0] == 405


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/metrics%00"])
def test_no_other_path_is_there(address, path):
    assert ask(address + path)[0] == 404


def test_a_token_is_asked_for_where_one_is_set(monkeypatch):
    monkeypatch.setenv("METRICS_TOKEN", TOKEN)
    with worker_metrics(metrics_config(token_env="METRICS_TOKEN"), ManualClock(), "w1") as opened:
        address = f"http://127.0.0.1:{opened.port}"
        assert ask(f"{address}/metrics")[0] == 401
        assert ask(f"{address}/metrics", {"Authorization": f"Bearer {TOKEN}x"})[0] == 401
        assert scrape(address, Authorization=f"Bearer {TOKEN}").value("longwatch_healthy") == 1
        assert verdict(f"{address}/healthz") == (200, [])


def test_beyond_this_machine_a_token_is_a_must():
    with pytest.raises(ValueError, match="no token is asked for"):
        Metrics(host="0.0.0.0")


def test_a_token_that_is_not_there_is_an_error_at_its_key(monkeypatch):
    monkeypatch.delenv("METRICS_TOKEN", raising=False)
    with (
        pytest.raises(ConfigError, match=r"metrics\.token_env"),
        worker_metrics(metrics_config(token_env="METRICS_TOKEN"), ManualClock(), "w1"),
    ):
        pass


def test_a_port_that_is_taken_is_logged_and_the_worker_goes_on():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = demo_config().model_copy(update={"metrics": Metrics(port=taken.getsockname()[1])})
        with capture_logs() as logs, worker_metrics(config, ManualClock(), "w1") as opened:
            assert opened.port is None
    assert [each["event"] for each in logs] == ["metrics_unavailable"]


def test_clients_that_say_nothing_do_not_keep_others_out_for_long(address):
    """More open connections than are served: the server gives each up after its deadline."""
    port = int(address.rpartition(":")[2])
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_REQUESTS + 4)]
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                assert ask(f"{address}/healthz")[0] == 200
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        for each in idle:
            each.close()


def test_being_fenced_is_counted():
    with pytest.raises(FencedError), worker_metrics(metrics_config(), ManualClock(), "w1") as opened:  # noqa: PT012
        kept = opened.collectors
        raise FencedError("another worker has this name")
    assert kept.registry.get_sample_value("longwatch_fenced_total") == 1
