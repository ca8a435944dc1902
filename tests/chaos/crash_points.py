"""One way to reach each step of the commit protocol with a worker that kills itself there."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kafka.admin import ConfigResource

from chaos.fleet import PATIENCE_S, Fleet
from chaos.worker_process import Halt
from longwatch.pipeline.steps import Step

SMALL_BYTES = 150
"""A batch with an alert is larger: the broker refuses it and the transaction is aborted."""


def crash(fleet: Fleet, halt: Halt) -> None:
    """Bring a worker of a fresh pipeline to `halt`, where it ends; whatever helped is gone or undone afterwards."""
    _WAYS.get(halt.point, _run_into)(fleet, halt)


def _run_into(fleet: Fleet, halt: Halt) -> None:
    fleet.halted(halt)


def _after_an_earlier_life(fleet: Fleet, halt: Halt) -> None:
    fleet.halted(Halt(Step.COMMITTED, 3))
    fleet.halted(halt)


def _after_a_life_that_left_a_transaction_open(fleet: Fleet, halt: Halt) -> None:
    fleet.halted(Halt(Step.OFFSETS_SENT, 3))
    fleet.halted(halt)


def _refused_by_the_broker(fleet: Fleet, halt: Halt) -> None:
    with refusing_alerts(fleet):
        fleet.halted(halt)


def _without_the_answer_to_a_commit(fleet: Fleet, halt: Halt) -> None:
    fleet.wait_halted(fleet.start(halt=halt, unheard=2), halt)


def _while_another_joins(fleet: Fleet, halt: Halt) -> None:
    first = fleet.start("w1", halt=halt)
    until(lambda: first.trace.visits[Step.COMMITTED], fleet)
    second = fleet.start("w2")
    fleet.wait_halted(first, halt)
    second.kill()


def _asleep_while_another_takes_over(fleet: Fleet, halt: Halt) -> None:
    first = fleet.start("w1", halt=halt)
    until(lambda: first.trace.visits[Step.COMMITTED], fleet)
    first.send(signal.SIGSTOP)
    second = fleet.start("w2")
    until(lambda: second.trace.visits[Step.SOUGHT], fleet)
    first.send(signal.SIGCONT)
    fleet.wait_halted(first, halt)
    second.kill()


def _told_to_stop(fleet: Fleet, halt: Halt) -> None:
    worker = fleet.start("w1", halt=halt)
    until(lambda: worker.trace.visits[Step.COMMITTED], fleet)
    worker.send(signal.SIGTERM)
    fleet.wait_halted(worker, halt)


_WAYS: dict[str, Callable[[Fleet, Halt], None]] = {
    Step.OPENED: _after_a_life_that_left_a_transaction_open,
    Step.ASSIGNED: _after_a_life_that_left_a_transaction_open,
    Step.SOUGHT: _after_an_earlier_life,
    Step.REBUILDING: _after_an_earlier_life,
    Step.ABORTING: _refused_by_the_broker,
    Step.ABORTED: _refused_by_the_broker,
    Step.REWOUND: _refused_by_the_broker,
    Step.ABANDONED: _without_the_answer_to_a_commit,
    Step.REOPENED: _without_the_answer_to_a_commit,
    Step.REVOKED: _while_another_joins,
    Step.RELEASED: _while_another_joins,
    Step.LOST: _asleep_while_another_takes_over,
    Step.STOPPING: _told_to_stop,
}


@contextmanager
def refusing_alerts(fleet: Fleet) -> Iterator[None]:
    """The broker takes no alert of this fresh pipeline, until the block ends."""
    alerts = f"{fleet.live.outputs}.alerts"
    fleet.live.kafka.create_topic(name=alerts, max_message_bytes=str(SMALL_BYTES))
    yield
    with fleet.live.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("TOPIC", alerts, {"max.message.bytes": "1048588"})])


def until(condition: Callable[[], object], fleet: Fleet) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, fleet.said()
        time.sleep(0.01)
