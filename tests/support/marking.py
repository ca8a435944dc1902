"""Marks made from alerts, and engines that heed them, for tests."""

import msgspec

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import build_engine
from longwatch.pipeline.config import Config
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.feedback.marks import Mark, MarkBook
from longwatch.pipeline.feedback.silence import Effect, Timeline
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition
from support.demo import demo_model

FOR_EVER = 1 << 60


def alerts_of(outputs: list[Output], kind: Kind = Kind.ALERT) -> list[Alert]:
    return [msgspec.json.decode(output.value, type=Alert) for output in outputs if output.kind is kind]


def mark_of(alert: Alert, entities: tuple[str, ...] = ("*",), until_ms: int = FOR_EVER, mark_id: str = "") -> Mark:
    return Mark(
        mark_id or f"m-{alert.alert_id[:8]}-{alert.revision}",
        alert.alert_id,
        alert.rule,
        alert.kind,
        alert.pattern,
        list(entities),
        until_ms,
    )


def write(book: MarkBook, *entries: object) -> int:
    """Add to a log, each entry ten places further than the one before; gives where the log ends."""
    for entry in entries:
        book.add(book.upto, msgspec.json.encode(entry), book.upto + 10)
    return book.changed_at


def timelines(outputs: list[Output]) -> dict[Partition, Timeline]:
    """Where marks took effect, of the effects among outputs."""
    found: dict[Partition, Timeline] = {}
    for output in outputs:
        if output.kind is Kind.EFFECT:
            effect = msgspec.json.decode(output.value, type=Effect)
            found.setdefault(output.partition, Timeline()).add(effect)
    return found


def marked_engine(config: Config, past: Past) -> Engine:
    return build_engine(config, demo_model(), instance="test", past=past)
