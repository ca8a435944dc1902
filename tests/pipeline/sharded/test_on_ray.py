"""`--engine ray` on two local workers: the bytes of one process, also when one dies. `make test-ray` installs Ray."""

import os
import signal
import threading
from importlib.util import find_spec

import pytest

from longwatch.pipeline.sharded.engines import pool_of
from longwatch.pipeline.sharded.merge import tasks_of
from support.demo import demo_model
from support.descendants import addresses_listened_on, descendant_named, descendants
from support.parts import alone, config_of

# Not imported here: Ray reads its environment as it is imported, and the pool sets it before.
pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed here: `make test-ray`"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("partitions", [1, 3])
def test_two_workers_write_the_alerts_and_the_report_of_one_process(by_command, partitions):
    one = by_command(f"one-{partitions}", partitions)
    assert by_command(f"ray-{partitions}", partitions, "--engine", "ray", "--processes", "2") == one


def test_a_worker_that_dies_is_run_again_with_equal_output(log, tmp_path):
    config = config_of(log, 3)
    tasks = tasks_of(config, demo_model(), [], None, None, None, 2)
    pool = pool_of("ray", 2)
    killed: list[int] = []

    def kill() -> None:
        killed.append(descendant_named("ray::run_part", 60))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = sorted(alert for _, done in pool.run(tasks) for alert in done.alerts)
    killer.join()
    assert killed
    expected = alone(config, tmp_path / "one")
    assert found == sorted(alert.encode() for alert in expected.alerts)


def test_a_local_cluster_listens_on_loopback_alone():
    pool = pool_of("ray", 1)
    try:
        found = addresses_listened_on(descendants(os.getpid()))
        assert found
        assert {address for address in found if not address.startswith("127.")} == set()
    finally:
        pool.ray.shutdown()
