"""Alert messages as the worker writes them, without a worker."""

from longwatch.pipeline.alerts import (
    SCHEMA,
    Alert,
    Digests,
    Lifecycle,
    SourceNote,
    ThresholdNote,
    TopEvent,
    WindowNote,
)
from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.message import Message, Record, read_message

TOPIC = Partition("alerts", "id", 0)


def alert(
    number: int = 1,
    revision: int = 0,
    lifecycle: Lifecycle = "open",
    entity: str = "web-1",
    line: str | None = "user root logged in",
) -> Alert:
    """Message `revision` of alert `number`."""
    return Alert(
        schema=SCHEMA,
        alert_id=f"{number:032x}",
        revision=revision,
        lifecycle=lifecycle,
        rule="default",
        kind="window",
        entity=entity,
        score=5.5,
        threshold=ThresholdNote(4.0, "score", 4.0, 0.5),
        source=SourceNote("logs", "id", 0, 40),
        window=WindowNote(10, 40, "2026-11-24T08:00:00.000Z", "2026-11-24T08:05:00.000Z", 31, 0, None),
        top_events=[TopEvent(12, "2026-11-24T08:01:00.000Z", "0" * 16, "user <*> logged in", 9.0, 5.5, ["pair"], line)],
        digests=Digests("b" * 64, "c" * 64, "t" * 64),
        partial=False,
        instance="",
    )


def message(
    number: int = 1, revision: int = 0, offset: int = 0, partition: Partition = TOPIC, **named: object
) -> Message:
    """The same as a record of the alerts topic."""
    value = alert(number, revision, **named).encode()  # type: ignore[arg-type]
    found = read_message(Record(partition, offset, None, value))
    assert isinstance(found, Message)
    return found
