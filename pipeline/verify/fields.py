"""Which fields of an output differ from the replay's; scores may differ by the noise between two batchings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from longwatch.pipeline.alerts import Alert, TopEvent
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.verify.record import Content, decode_alert

SCORE_TOLERANCE = 1e-4
"""One step of the four decimals that scores are written with."""

SPARE_TOP_EVENTS = 64
"""The replay names so many more, as events of nearly one score may change places with those below them."""

_SHOWN = 80


def changes(kind: Kind, found: Content, expected: Content, top_events: int) -> Iterator[str]:
    """What differs, as `field: found, expected`; nothing where the two are the same output."""
    yield from _different("key", found.key, expected.key)
    yield from _different("headers", dict(found.headers), dict(expected.headers))
    if len(found.headers) != len(dict(found.headers)):
        yield "headers: one stands there twice"
    if not kind.holds_alert:
        yield from _different("value", found.value, expected.value)
    else:
        yield from _alert_changes(found.value, expected.value, top_events)


def same_scores(found: Content, expected: Content, top_events: int) -> bool:
    """Whether two messages that are one alert have the very same scores, too."""
    ours, theirs = (decode_alert(content.value) for content in (found, expected))
    cut = msgspec.structs.replace(theirs, top_events=theirs.top_events[:top_events], instance=ours.instance)
    return ours == cut


def _alert_changes(found: bytes, expected: bytes, top_events: int) -> Iterator[str]:
    ours, theirs = decode_alert(found), decode_alert(expected)
    if ours.encode() != found:
        yield "value: not the bytes that longwatch writes for this alert"
    yield from _walk("", _without_tops(ours), _without_tops(theirs))
    yield from _top_changes(ours.top_events, theirs.top_events, top_events)


def _without_tops(alert: Alert) -> dict[str, Any]:
    """The instance is left out too: it says who wrote it, which no replay can know."""
    fields: dict[str, Any] = msgspec.to_builtins(alert)
    return {name: value for name, value in fields.items() if name not in ("top_events", "instance")}


def _walk(path: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    for name in expected.keys() - found.keys():
        yield f"{path}{name}: missing in the topic, {_shown(expected[name])} in the replay"
    for name, value in found.items():
        at, other = f"{path}{name}", expected.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _walk(f"{at}.", value, other)
        elif not (name in ("score", "surprise") and other is not None and _close(value, other)):
            yield from _different(at, value, other)


def _top_changes(found: list[TopEvent], ranked: list[TopEvent], limit: int) -> Iterator[str]:
    """`ranked` is the replay's longer list: each event is compared with its own there, each place by its score."""
    yield from _different("top_events: how many", len(found), min(limit, len(ranked)))
    by_offset = {event.offset: event for event in ranked}
    yield from _different("top_events: distinct offsets", len({event.offset for event in found}), len(found))
    for place, event in enumerate(found):
        at = f"top_events[{place}]."
        other = by_offset.get(event.offset)
        if other is None:
            yield f"{at}offset: {event.offset}, which is not among the replay's"
            continue
        yield from _walk(at, msgspec.to_builtins(event), msgspec.to_builtins(other))
        if place < len(ranked) and not _close(event.score, ranked[place].score):
            yield f"{at}score: {event.score} at this place, {ranked[place].score} in the replay"


def _close(found: float, expected: float) -> bool:
    return round(abs(found - expected), 9) <= SCORE_TOLERANCE


def _different(name: str, found: object, expected: object) -> Iterator[str]:
    if found != expected or type(found) is not type(expected):
        yield f"{name}: {_shown(found)} in the topic, {_shown(expected)} in the replay"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
