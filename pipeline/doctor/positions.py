"""Judges where the group stands: lag, replay distance, transactions that hold readers back, clocks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.doctor.answer import Answer, State
from longwatch.pipeline.doctor.facts import Group, OpenTransaction
from longwatch.pipeline.kafka_offsets import Bounds

SKEW_MS = 5_000
_LONGEST_MS = 900_000
_NEAR = 0.1
"""Retention that has left less than this part of the log before `replay_from` will soon pass it."""


def access(group: Group, name: str) -> Answer:
    """What this user may do with the group."""
    if group.refused:
        return Answer("access", State.FAILED, f"group {name}: {group.refused}", "give this user READ on the group")
    if group.operations is None:
        said = f"the broker does not say what this user may do with group {name}"
        return Answer("access", State.UNASKED, said, "a run shows it: `longwatch run --max-seconds 5`")
    if lacking := sorted({"READ", "DESCRIBE"} - group.operations):
        hint = f"give this user {' and '.join(lacking)} on the group"
        return Answer("access", State.FAILED, f"group {name} may not be joined", hint)
    return Answer("access", State.OK, f"may join group {name}")


def lag(topic: str, positions: Mapping[int, Position], bounds: Mapping[int, Bounds], group: Group) -> Answer:
    """How many records wait, and whether anybody reads them."""
    starts = {number: at.start for number, at in bounds.items()} | {n: at.next_offset for n, at in positions.items()}
    waiting = sum(max(0, at.stable - starts[number]) for number, at in bounds.items())
    said = f"{waiting:,} offsets of {topic} wait, {group.members} members read ({group.state or 'no group'})"
    if not positions:
        hint = "start one: `longwatch run`"
        return Answer("lag", State.WARNING, f"nothing of {topic} was committed yet; {said}", hint)
    if waiting and not group.members:
        return Answer("lag", State.WARNING, said, "start a worker: `longwatch run`")
    return Answer("lag", State.OK, said)


def replay(
    topic: str,
    positions: Mapping[int, Position],
    bounds: Mapping[int, Bounds],
    digests: tuple[str, str] | None,
    kept: Collection[str] | None = None,
) -> Iterator[Answer]:
    """Whether the windows that were open can be rebuilt, by the model that opened them.

    kept: with `reload`, the bundles at hand: a start goes on under the one that was committed, and swaps from there.
    """
    found = [
        answer
        for number, at in positions.items()
        for answer in (
            *_distance(f"{topic}[{number}]", at, bounds[number]),
            *_model(f"{topic}[{number}]@{at.next_offset}", at, digests, kept),
        )
    ]
    yield from found
    if positions and not found:
        furthest = max(at.next_offset - at.metadata.replay_from for at in positions.values())
        yield Answer("replay distance", State.OK, f"a restart reads at most {furthest:,} offsets again, all are there")


def _distance(place: str, at: Position, bounds: Bounds) -> Iterator[Answer]:
    replay_from = at.metadata.replay_from
    if at.next_offset > bounds.end:
        said = f"{place}@{at.next_offset} was committed, the log ends at {bounds.end}"
        hint = "the topic was re-created or cut: reset the group's offsets with Kafka's consumer-groups tool"
        yield Answer("replay distance", State.FAILED, said, hint)
    elif replay_from < bounds.start:
        said = f"{place}@{replay_from} must be read again, the log begins at {bounds.start}"
        hint = "raise the topic's retention; alerts of windows that began before will say `partial`"
        yield Answer("replay distance", State.FAILED, said, hint)
    elif bounds.start and replay_from - bounds.start < _NEAR * (bounds.end - bounds.start):
        said = f"{place}@{replay_from} must be read again, retention has come up to {bounds.start}"
        yield Answer("replay distance", State.WARNING, said, "raise the topic's retention before it passes")


def _model(place: str, at: Position, digests: tuple[str, str] | None, kept: Collection[str] | None) -> Iterator[Answer]:
    committed = (at.metadata.bundle, at.metadata.config)
    if digests is None or committed == digests:
        return
    if kept is not None and at.metadata.changes:
        if committed[0] not in kept:
            said = f"{place} was committed under bundle {committed[0]}, which is not at hand: no worker can go on"
            yield Answer("replay distance", State.FAILED, said, "put its folder back where `reload.bundles` says")
    else:
        said = f"{place} was committed with another bundle or configuration"
        hint = "the next start changes the model: scores up to here and from here on do not compare"
        yield Answer("replay distance", State.WARNING, said, hint)


def hanging(found: Sequence[OpenTransaction], held_back: int, now_ms: int, ours: Mapping[str, int]) -> Iterator[Answer]:
    """Transactions older than their time-out, which no broker ends: readers wait for them for ever.

    `ours` is the time-out, in ms, of those who write a topic; of others, the longest that brokers allow is taken.
    """
    old = [each for each in found if now_ms - each.last_written_ms > 2 * ours.get(each.topic, _LONGEST_MS) + SKEW_MS]
    for each in old:
        seconds = (now_ms - each.last_written_ms) / 1000
        said = f"{each.topic}[{each.partition}]@{each.start}: open, nothing written for {seconds:,.0f} s"
        hint = (
            f"kafka-transactions.sh abort --topic {each.topic} --partition {each.partition} "
            f"--start-offset {each.start}; producer id {each.producer_id}"
        )
        yield Answer("hanging transactions", State.FAILED, said, hint)
    if not old:
        state = f"{held_back} partitions wait for one that is in progress" if held_back else "none is open"
        yield Answer("hanging transactions", State.OK, state)


def clock(newest: Mapping[str, int], now_ms: int) -> Answer:
    """Whether the newest timestamps lie ahead of this machine's clock; behind it, they may just be old."""
    ahead = {topic: stamp - now_ms for topic, stamp in newest.items() if stamp - now_ms > SKEW_MS}
    if ahead:
        said = ", ".join(f"{topic} by {ms / 1000:,.1f} s" for topic, ms in ahead.items())
        hint = "let NTP set the clocks of brokers, producers and this machine; windows.idle_timeout compares them"
        return Answer("clock", State.WARNING, f"timestamps lie ahead of this machine's clock: {said}", hint)
    if not newest:
        return Answer("clock", State.UNASKED, "no record carries a timestamp yet")
    said = ", ".join(f"{topic} {(now_ms - stamp) / 1000:,.0f} s ago" for topic, stamp in newest.items())
    return Answer("clock", State.OK, f"no timestamp lies ahead; the newest of {said}")
