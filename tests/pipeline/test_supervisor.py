"""systemd is told by the loop itself: ready once joined, alive while it goes round."""

import socket

import pytest

from longwatch.pipeline.cli import main
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.supervisor import supervisor
from longwatch.pipeline.watch import State
from support.demo import HOME, demo_frame


def state(*, joined: bool) -> State:
    return State(Progress(), 0, 0, False, dict, dict, dict, lambda: True, joined, None)


@pytest.fixture
def heard(tmp_path):
    """Where systemd listens; reading gives all it was told since the last time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(str(tmp_path / "notify"))

        def read() -> list[bytes]:
            found = []
            try:
                while True:
                    found.append(listening.recv(1024))
            except BlockingIOError:
                return found

        yield read


def test_ready_is_said_once_and_the_watchdog_is_fed_only_by_rounds(tmp_path, heard):
    clock = ManualClock()
    (told,) = supervisor(clock, {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"})
    told.told(state(joined=False))
    assert heard() == [b"WATCHDOG=1"]
    told.told(state(joined=True))
    assert heard() == [b"READY=1"]
    clock.advance(5_000)
    assert heard() == []
    told.told(state(joined=True))
    assert heard() == [b"WATCHDOG=1"]


def test_nobody_is_told_where_nobody_listens(tmp_path):
    assert list(supervisor(ManualClock(), {})) == []
    (told,) = supervisor(ManualClock(), {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    told.told(state(joined=True))


def test_a_worker_tells_the_supervisor_that_started_it(tmp_path, heard, monkeypatch):
    text = (HOME / "demo.yaml").read_text().replace("bundle: bundle", f"bundle: {HOME / 'bundle'}")
    (tmp_path / "demo.log").write_text("".join(f"{line}\n" for line in demo_frame((9, 10))["line"].head(600)))
    (tmp_path / "p.yaml").write_text(text)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "90000000")
    assert main(["run", str(tmp_path / "p.yaml")]) == 0
    assert heard() == [b"READY=1", b"WATCHDOG=1"]
