"""Alerts and letters as a worker gives them, and the topics that would hold them, for tests of `verify`."""

from functools import cache

from longwatch.pipeline.assembly import build_engine
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.verify.comparison import Comparison, Scope, Upto
from longwatch.pipeline.verify.fields import SPARE_TOP_EVENTS
from longwatch.pipeline.verify.findings import Findings
from longwatch.pipeline.verify.ledger import Ledger
from longwatch.pipeline.verify.record import Content, Written
from support.demo import BUSY, as_records, batch, demo_config, demo_frame, demo_model
from support.marking import alerts_of, mark_of, write

PARTITIONS = tuple(Partition("logs", "topic-uuid", number) for number in range(2))
TOP_EVENTS = 5


@cache
def replayed(spare: int = SPARE_TOP_EVENTS) -> tuple[Output, ...]:
    """What the engine gives for two partitions with bad and late lines; `spare` 0 is what a worker writes.

    The last alerts are marked as false alarms from the start.
    """
    book = MarkBook()
    opened = [alert for alert in alerts_of(list(_fed(MarkBook(), 0))) if alert.lifecycle == "open"]
    write(book, *[mark_of(alert, mark_id=f"m{place}") for place, alert in enumerate(opened[-4:])])
    return _fed(book, spare)


def _fed(book: MarkBook, spare: int) -> tuple[Output, ...]:
    past = Past(book)
    engine = build_engine(demo_config(BUSY), demo_model(), instance=f"w{spare}", spare_top_events=spare, past=past)
    outputs: list[Output] = []
    for partition, hours in zip(PARTITIONS, ((9, 10), (10, 11)), strict=True):
        lines = [line.encode() for line in demo_frame(hours)["line"].head(1500)]
        lines.insert(100, b"no header here")
        lines.insert(500, lines[10])
        engine.assign(partition, None, 0)
        outputs += engine.heed(book.changed_at).outputs
        outputs += engine.process([batch(as_records(lines), partition)]).outputs
    return tuple(outputs)


def scope(covered: int = 2**40, digests: tuple[str, str] | None = None) -> Scope:
    """All of both partitions, or the outputs below an offset."""
    ours = (demo_model().bundle.digest, demo_config(BUSY).digest)
    upto = {partition.partition: Upto(covered) for partition in PARTITIONS}
    return Scope("logs", "topic-uuid", upto, digests or ours, TOP_EVENTS)


def contents(kind: Kind = Kind.ALERT) -> list[Content]:
    """What a worker writes into the topic of a kind, in order."""
    return [Content.of(output) for output in replayed(0) if output.kind is kind]


def topic_of(records: list[Content], name: str = "out", partition: int = 0) -> list[Written]:
    """The records as one partition holds them, with gaps where transaction markers are."""
    return [Written(name, partition, 2 * place, content) for place, content in enumerate(records)]


def compared(written: list[Written], kind: Kind = Kind.ALERT, within: Scope | None = None) -> Findings:
    """The findings over one kind's topic."""
    return comparison(written, kind, within).finish()


def comparison(written: list[Written], kind: Kind = Kind.ALERT, within: Scope | None = None) -> Comparison:
    """A comparison that has seen the topic and the replay."""
    made = Comparison(within or scope(), Ledger())
    for each in written:
        made.found(kind, each)
    for output in replayed():
        if output.kind is kind:
            made.expected(output)
    return made
