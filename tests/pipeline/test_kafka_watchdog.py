"""A call that outlives its deadline ends the process."""

import subprocess
import sys
import threading

from longwatch.pipeline.kafka_watchdog import Watchdog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_call_past_its_deadline_is_reported_with_all_stacks_and_exit_75(capfd) -> None:
    clock, left = Clock(), threading.Event()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        left.set()

    with Watchdog(leave, clock, tick=0.001).guard("commit of pipeline-0", 60.0):
        clock.now = 60.5
        assert left.wait(10)
    said = capfd.readouterr().err
    assert codes == [75]
    assert "commit of pipeline-0 did not return in time" in said
    assert "test_kafka_watchdog.py" in said


def test_calls_that_return_in_time_end_nothing_and_the_latest_deadline_holds() -> None:
    clock, left = Clock(), threading.Event()
    watchdog = Watchdog(lambda _: left.set(), clock, tick=0.001)
    for _ in range(3):
        with watchdog.guard("outer", 100.0), watchdog.guard("inner", 1.0):
            clock.now += 0.5
    clock.now += 50.0
    assert not left.wait(0.05)
    with watchdog.guard("outer", 100.0):
        with watchdog.guard("inner", 10.0):
            clock.now += 5.0
        clock.now += 50.0
        assert not left.wait(0.05)
        clock.now += 50.0
        assert left.wait(10)


def test_a_process_that_was_stopped_has_a_moment_to_hear_that_it_is_fenced() -> None:
    clock, left = Clock(), threading.Event()
    watchdog = Watchdog(lambda _: left.set(), clock, tick=0.05)
    with watchdog.guard("commit", 10.0):
        clock.now = 60.0
        assert not left.wait(0.3)
    with watchdog.guard("poll", 1e9):
        assert not left.wait(1.0)


def test_a_hanging_process_really_leaves_with_75() -> None:
    program = """
import threading
from longwatch.pipeline.kafka_watchdog import Watchdog
with Watchdog(tick=0.01).guard("a call", 0.05):
    threading.Event().wait()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "a call did not return in time" in done.stderr) == (75, True)
