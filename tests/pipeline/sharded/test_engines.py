"""`--engine processes`: the bytes of one process, and plain errors where a part cannot be had."""

import os
import signal
import sys
import threading

import pytest

from longwatch.pipeline.cli import main
from longwatch.pipeline.errors import BundleUnusableError, UsageError
from longwatch.pipeline.sharded.engines import PartLostError, Processes, pool_of
from longwatch.pipeline.sharded.merge import tasks_of
from support.demo import HOME, demo_model
from support.descendants import descendant_named
from support.parts import config_of


@pytest.mark.parametrize("partitions", [1, 3])
def test_two_processes_write_the_alerts_and_the_report_of_one(by_command, partitions):
    one = by_command(f"one-{partitions}", partitions)
    assert by_command(f"two-{partitions}", partitions, "--engine", "processes", "--processes", "2") == one


def test_a_process_that_dies_is_a_plain_error(log):
    tasks = tasks_of(config_of(log, 1), demo_model(), [], None, None, None, 2)
    killer = threading.Thread(target=lambda: os.kill(descendant_named("spawn_main", 60), signal.SIGKILL))
    killer.start()
    with pytest.raises(PartLostError) as raised:
        list(Processes(2).run(tasks))
    killer.join()
    assert "fewer at once with --processes" in raised.value.hint


def test_a_machine_with_another_bundle_refuses_its_part(log):
    tasks = tasks_of(config_of(log, 1), demo_model(), [], None, None, None, 1)
    other = type(tasks[0])(**{**vars(tasks[0]), "bundle": "0" * 64})
    with pytest.raises(BundleUnusableError, match="where the backtest was started"):
        list(Processes(1).run([other]))


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as raised:
        pool_of("ray", 2)
    assert "pip install 'longwatch[ray]'" in raised.value.hint


@pytest.mark.parametrize("words", [["--engine", "dask"], ["--engine", "processes", "--set", "source={stdin: {}}"]])
def test_what_cannot_be_divided_is_refused_before_anything_is_written(words, tmp_path, capsys):
    sets = ["--set", f"bundle={HOME / 'bundle'}", "--out", str(tmp_path / "out")]
    assert main(["backtest", str(HOME / "demo.yaml"), *sets, *words]) == 2
    said = capsys.readouterr().err
    assert "error: " in said
    assert "hint: " in said
    assert not (tmp_path / "out").exists()
