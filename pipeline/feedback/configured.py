"""The rules of a configuration, and the marks of the past, as what silences alerts."""

from __future__ import annotations

from dataclasses import dataclass, field

from longwatch.pipeline.config import Config, SilenceRule
from longwatch.pipeline.config.feedback import time_ms
from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.feedback.silence import Silencer, Standing, Timeline
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Change


@dataclass(frozen=True)
class Past:
    """Marks and configurations, and of what is replayed where each took effect; a live worker's commits say that."""

    book: MarkBook = field(default_factory=MarkBook)
    timelines: dict[Partition, Timeline] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


def silencer_for(config: Config, past: Past) -> Silencer:
    """What silences alerts under a configuration."""
    return Silencer(standing_rules(config), past.book, past.timelines)


def standing_rules(config: Config) -> tuple[Standing, ...]:
    """The rules that stand in a configuration."""
    return () if config.feedback is None else tuple(_standing(rule) for rule in config.feedback.rules)


def _standing(rule: SilenceRule) -> Standing:
    since, until = (None if text is None else time_ms(text) for text in (rule.since, rule.until))
    return Standing(rule.name, rule.templates, rule.entities, rule.rule, rule.kind, since, until)
