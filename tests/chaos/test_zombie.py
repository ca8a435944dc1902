"""A worker that sleeps in mid-transaction while another takes over cannot write anything when it wakes."""

import signal

import pytest

from chaos.crash_points import until
from chaos.fleet import PARTITIONS, PATIENCE_S, Fleet, fleet
from chaos.outcome import Outcome, outcome
from chaos.stream import Stream
from chaos.worker_process import Halt, WorkerProcess
from longwatch.pipeline.errors import FatalError, FencedError
from longwatch.pipeline.steps import Step
from support.kafka_broker import KafkaForTests

pytestmark = pytest.mark.broker

SEED = 9
LINES = 160


@pytest.fixture(scope="module")
def topic(kafka: KafkaForTests) -> str:
    topic = kafka.create_topic(PARTITIONS)
    stream = Stream(kafka, topic, PARTITIONS, SEED)
    stream.produce(LINES)
    stream.close()
    return topic


@pytest.fixture(scope="module")
def expected(kafka: KafkaForTests, tmp_path_factory, topic: str) -> Outcome:
    with fleet(kafka, tmp_path_factory.mktemp("calm"), topic) as calm:
        calm.run()
        return outcome(calm.live)


def asleep(fleet: Fleet, step: Step) -> WorkerProcess:
    """A worker stopped in its third transaction, after two that it has committed."""
    zombie = fleet.halted(Halt(step, 3, signal.SIGSTOP))
    assert zombie.trace.visits[Step.COMMITTED] == 2
    return zombie


def test_fenced_has_an_exit_code_of_its_own():
    assert FencedError.exit_code != FatalError.exit_code


@pytest.mark.parametrize("step", [Step.BEGUN, Step.FLUSHED, Step.OFFSETS_SENT])
def test_a_zombie_of_the_same_name_is_fenced_and_leaves_with_its_own_code(kafka, tmp_path, topic, expected, step):
    with fleet(kafka, tmp_path, topic) as shaken:
        zombie = asleep(shaken, step)
        shaken.finish(LINES)
        before = outcome(shaken.live)
        zombie.send(signal.SIGCONT)
        assert zombie.wait(PATIENCE_S) == FencedError.exit_code, shaken.said()
        assert zombie.trace.visits[Step.COMMITTED] == 2
        assert not before.against(expected)
        assert not outcome(shaken.live).against(expected)


def test_a_zombie_whose_transaction_timed_out_is_fenced_by_its_epoch(kafka, tmp_path, topic, expected):
    """Its offsets hold back whoever takes over until the broker has ended the transaction, which fences it."""
    with fleet(kafka, tmp_path, topic) as shaken:
        zombie = asleep(shaken, Step.OFFSETS_SENT)
        shaken.finish(LINES, "w2")
        assert not outcome(shaken.live).against(expected)
        zombie.send(signal.SIGCONT)
        assert zombie.wait(PATIENCE_S) == FencedError.exit_code, shaken.said()
        assert zombie.trace.visits[Step.COMMITTED] == 2
        assert not outcome(shaken.live).against(expected)


def test_a_zombie_that_lost_its_place_in_the_group_is_fenced_by_its_generation(kafka, tmp_path, topic, expected):
    """KIP-447: its transaction is still good and its name is its own, but the group has gone on without it.

    The broker refuses its offsets; it aborts, drops what it had, and joins again as an honest member.
    """
    with fleet(kafka, tmp_path, topic, sink__kafka__transaction_timeout="60s") as shaken:
        zombie = asleep(shaken, Step.FLUSHED)
        heir = shaken.start("w2")
        until(lambda: shaken.committed() == (LINES, LINES), shaken)
        zombie.send(signal.SIGCONT)
        until(lambda: zombie.trace.visits[Step.LOST], shaken)
        assert zombie.trace.visits[Step.ABORTED] == 1
        assert zombie.trace.visits[Step.OFFSETS_SENT] == 2
        for worker in (zombie, heir):
            worker.send(signal.SIGTERM)
            assert worker.wait(PATIENCE_S) == 0, shaken.said()
        assert not outcome(shaken.live).against(expected)
