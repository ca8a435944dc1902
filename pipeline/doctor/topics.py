"""Judges topics: whether they are there, what this user may do with them, and the settings that a worker relies on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from longwatch.pipeline.doctor.answer import Answer, State
from longwatch.pipeline.doctor.facts import Topic
from longwatch.pipeline.window_state import WindowRules

FOREVER = -1


@dataclass(frozen=True)
class Needed:
    """A topic's part in the pipeline; `writes` for the outputs, `creates` where the worker would make it."""

    topic: Topic
    writes: bool
    creates: bool = False

    @property
    def operations(self) -> frozenset[str]:
        """What the worker does with it."""
        return frozenset({"DESCRIBE", "WRITE" if self.writes else "READ"})


def existence(needed: Sequence[Needed]) -> Iterator[Answer]:
    """Whether all are there."""
    missing = [each for each in needed if not each.topic.exists]
    for each in missing:
        hint = "the worker creates it" if each.creates else "create it, or correct its name in the YAML"
        state = State.WARNING if each.creates else State.FAILED
        yield Answer("topics", state, f"topic {each.topic.name} does not exist", hint)
    if not missing:
        yield Answer("topics", State.OK, ", ".join(_counted(each.topic) for each in needed))


def _counted(topic: Topic) -> str:
    return f"{topic.name} ({_plural(topic.partitions, 'partition')})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def access(needed: Sequence[Needed]) -> Iterator[Answer]:
    """What this user may do, as far as the broker says."""
    there = [each for each in needed if each.topic.exists]
    for each in there:
        if each.topic.refused:
            hint = "give this user DESCRIBE on the topic"
            yield Answer("access", State.FAILED, f"topic {each.topic.name}: {each.topic.refused}", hint)
        elif each.topic.operations is None:
            said = f"the broker does not say what this user may do with {each.topic.name}"
            yield Answer("access", State.UNASKED, said, "a run shows it: `longwatch run --max-seconds 5`")
        elif lacking := sorted(each.operations - each.topic.operations):
            hint = f"give this user {' and '.join(lacking)} on the topic"
            yield Answer("access", State.FAILED, f"topic {each.topic.name} may not be used for it", hint)
    granted = [each for each in there if each.topic.operations and each.operations <= each.topic.operations]
    if granted:
        said = ", ".join(f"{'write' if each.writes else 'read'} {each.topic.name}" for each in granted)
        yield Answer("access", State.OK, f"may {said}")


def settings(needed: Sequence[Needed], rules: WindowRules, request_bytes: int) -> Iterator[Answer]:
    """Whether the settings fit; one answer for each that does not, else one for all."""
    there = [each for each in needed if each.topic.exists and not each.topic.refused]
    unknown = [each.topic.name for each in there if each.topic.settings is None]
    if unknown:
        hint = "give this user DESCRIBE_CONFIGS on them"
        yield Answer("topic settings", State.UNASKED, f"settings of {', '.join(unknown)}", hint)
    found = [answer for each in there if each.topic.settings for answer in _judged(each, rules, request_bytes)]
    yield from found
    if not found and len(unknown) < len(there):
        yield Answer("topic settings", State.OK, "cleanup, retention, replicas and sizes fit")


def _judged(needed: Needed, rules: WindowRules, request_bytes: int) -> Iterator[Answer]:
    yield from _cleanup(needed)
    if needed.writes:
        yield from _sizes(needed.topic, request_bytes)
        yield from _replicas(needed.topic)
    else:
        yield from _retention(needed.topic, rules)
        yield from _stamps(needed.topic, rules)


def _cleanup(needed: Needed) -> Iterator[Answer]:
    topic = needed.topic
    if "compact" not in (topic.settings or {}).get("cleanup.policy", ""):
        return
    lost = "the messages of an alert share a key, so only the last stays" if needed.writes else "events would be gone"
    said = f"{topic.name} is compacted: {lost}"
    yield Answer("topic settings", State.FAILED, said, "set cleanup.policy=delete on it")


def _retention(topic: Topic, rules: WindowRules) -> Iterator[Answer]:
    kept_ms = topic.number("retention.ms")
    needed_ms = rules.max_duration_ms + rules.idle_gap_ms + rules.allowed_lateness_ms
    if kept_ms is not None and kept_ms != FOREVER and kept_ms < 2 * needed_ms:
        short = kept_ms < needed_ms
        said = f"{topic.name} keeps {kept_ms / 3.6e6:.1f} h, a window may last {needed_ms / 3.6e6:.1f} h"
        hint = f"set retention.ms={2 * needed_ms} or more on it, or lower windows.max_duration"
        yield Answer("topic settings", State.FAILED if short else State.WARNING, said, hint)
    if (kept_bytes := topic.number("retention.bytes")) is not None and kept_bytes != FOREVER:
        said = f"{topic.name} keeps {kept_bytes:,} bytes a partition, however short a time that is"
        yield Answer("topic settings", State.WARNING, said, "set retention.bytes=-1, or see that it is long enough")


def _stamps(topic: Topic, rules: WindowRules) -> Iterator[Answer]:
    stamped_by = (topic.settings or {}).get("message.timestamp.type")
    if rules.idle_timeout_ms is not None and stamped_by == "CreateTime":
        said = f"{topic.name} has its producers' timestamps, and windows.idle_timeout is set"
        hint = "set message.timestamp.type=LogAppendTime, or see that records arrive within idle_timeout"
        yield Answer("topic settings", State.WARNING, said, hint)


def _sizes(topic: Topic, request_bytes: int) -> Iterator[Answer]:
    limit = topic.number("max.message.bytes")
    if limit is not None and limit < request_bytes:
        said = f"{topic.name} takes {limit:,} bytes, an output may have {request_bytes:,}: a large one would be refused"
        yield Answer("topic settings", State.WARNING, said, f"set max.message.bytes={request_bytes} or more on it")


def _replicas(topic: Topic) -> Iterator[Answer]:
    least = topic.number("min.insync.replicas")
    if least is None:
        return
    if topic.in_sync < least:
        said = f"{topic.name} has {_plural(topic.in_sync, 'replica')} in sync and needs {least}: it takes no record now"
        yield Answer("topic settings", State.FAILED, said, "start the brokers that are down")
    elif topic.replicas == 1 or least == 1:
        said = f"{topic.name} has {_plural(topic.replicas, 'replica')} and takes records with {least} in sync"
        hint = "for outputs that outlive a broker: 3 replicas and min.insync.replicas=2"
        yield Answer("topic settings", State.WARNING, said, hint)
