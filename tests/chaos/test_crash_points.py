"""Each step of the commit protocol, enumerated: a worker that dies exactly there changes nothing of what is written."""

from collections import Counter
from pathlib import Path

import pytest

from chaos.crash_points import crash, refusing_alerts, until
from chaos.fleet import PARTITIONS, fleet
from chaos.outcome import outcome
from chaos.stream import Stream
from chaos.worker_process import POINTS, UNANSWERED, Halt
from longwatch.pipeline.steps import Step
from support.kafka_broker import KafkaForTests

pytestmark = pytest.mark.broker

SEED = 4
BROKEN = b"alone in its batch"
USUAL = (Step.ASSIGNED, Step.REBUILDING, Step.SILENCE_CLOSED, Step.RELEASED, Step.LOST)
USUAL += (Step.PRODUCED, Step.OFFSETS_SENT, UNANSWERED, Step.REOPENED, Step.REWOUND)
"""Those after which something else is durable, or forgotten; the slow tests crash at each of the others, too."""
REST = [Halt(point) for point in POINTS if point not in (*USUAL, Step.UNREADABLE)]
LATER = [
    Halt(point, visit)
    for point in (
        Step.POLLED,
        Step.PROCESSED,
        Step.REBUILDING,
        Step.SILENCE_CLOSED,
        Step.BEGUN,
        Step.PRODUCED,
        UNANSWERED,
    )
    for visit in (2, 3)
]
LATER += [
    Halt(point, visit)
    for point in (Step.FLUSHED, Step.OFFSETS_SENT, Step.COMMITTED, Step.ABORTING, Step.ABORTED, Step.REWOUND)
    for visit in (2, 3)
]
"""Later visits, where the worker has committed, or aborted, before."""


class Trial:
    """A topic of the seed's lines, what an uninterrupted run makes of it, and the points it went through."""

    def __init__(self, kafka: KafkaForTests, folder: Path, lines: int, *, broken: bool = False) -> None:
        self.kafka, self.folder, self.records = kafka, folder, lines + broken
        self.topic = kafka.create_topic(PARTITIONS)
        self.produce(lines, broken)
        with fleet(kafka, folder / "calm", self.topic) as calm:
            self.visits = calm.run().trace.visits
            self.expected = outcome(calm.live)

    def produce(self, lines: int, broken: bool) -> None:
        """The lines; `broken` adds a batch in their midst whose checksum is wrong."""
        stream = Stream(self.kafka, self.topic, PARTITIONS, SEED)
        stream.produce(lines // 2)
        stream.flush()
        if broken:
            stream.produce_line(("", BROKEN.decode()), 0)
            stream.flush()
            flip_a_bit(self.kafka, self.topic)
        stream.produce(lines - lines // 2)
        stream.close()

    def survives(self, halt: Halt) -> Counter[str]:
        """Crash once at `halt`, go on to the end, and compare; gives the points that were visited."""
        with fleet(self.kafka, self.folder / f"{halt.point}-{halt.visit}", self.topic) as shaken:
            crash(shaken, halt)
            shaken.finish(self.records)
            difference = outcome(shaken.live).against(self.expected)
            visits = shaken.visits
        assert not difference, f"{halt}: {difference}"
        return visits


def flip_a_bit(kafka: KafkaForTests, topic: str) -> None:
    """Break the checksum of the batch that holds `BROKEN`, on the broker's disk."""
    (segment,) = Path(kafka.broker.data_dir).glob(f"log/{topic}-0/*.log")
    content = bytearray(segment.read_bytes())
    content[content.index(BROKEN)] ^= 1
    segment.write_bytes(content)


@pytest.fixture(scope="module")
def trial(kafka: KafkaForTests, tmp_path_factory) -> Trial:
    """Lines enough for a dozen commits with alerts, dead letters and late events."""
    made = Trial(kafka, tmp_path_factory.mktemp("crash"), 160)
    assert min(made.expected.kinds[name] for name in ("alerts", "dlq", "late")) > 0
    return made


def test_a_crash_changes_nothing_and_every_step_is_visited(trial: Trial, kafka: KafkaForTests, tmp_path):
    visits = sum((trial.survives(Halt(point)) for point in USUAL), Counter())
    unreadable = Trial(kafka, tmp_path, 60, broken=True)
    assert unreadable.visits[Step.UNREADABLE] == 1
    visits += unreadable.survives(Halt(Step.UNREADABLE))
    assert visits.keys() == set(POINTS)


def test_a_worker_whose_transactions_are_refused_for_a_while_reads_again_from_its_last_commit(trial: Trial, tmp_path):
    with fleet(trial.kafka, tmp_path, trial.topic) as shaken:
        with refusing_alerts(shaken):
            worker = shaken.start()
            until(lambda: worker.trace.visits[Step.REWOUND] >= 2, shaken)
        until(lambda: shaken.committed() == (trial.records, trial.records), shaken)
        assert not outcome(shaken.live).against(trial.expected)


@pytest.mark.slow
@pytest.mark.parametrize("halt", [*REST, *LATER], ids=lambda halt: f"{halt.point}-{halt.visit}")
def test_a_crash_at_any_other_step_or_at_a_later_visit_changes_nothing(trial: Trial, halt: Halt):
    trial.survives(halt)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_crash_at_any_visit_of_any_step_of_a_short_run_changes_nothing(kafka, tmp_path, record_property):
    """Not sampled: as many runs as the uninterrupted one has visits, however many those are."""
    trial = Trial(kafka, tmp_path, 60)
    halts = [Halt(point, visit) for point, visits in trial.visits.items() for visit in range(1, visits + 1)]
    assert len(halts) > 50
    for halt in halts:
        trial.survives(halt)
    record_property("crash_points", len(halts))
