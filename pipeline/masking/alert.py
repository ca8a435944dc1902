"""A whole alert with its personal data masked: all texts of it that come from a log."""

from __future__ import annotations

from msgspec import UnsetType
from msgspec.structs import replace

from longwatch.pipeline.alerts import Alert, Expected, TopEvent
from longwatch.pipeline.masking.masker import Masker
from longwatch.pipeline.records import LINE_CHARACTERS


def masked(alert: Alert, masker: Masker) -> Alert:
    """The alert as it leaves; its id, revision, scores and digests stay as they are."""
    if not masker.forms and masker.entity == "plain":
        return alert
    tops = [_event(event, masker) for event in alert.top_events]
    return replace(alert, entity=masker.name(alert.entity), top_events=tops)


def _event(event: TopEvent, masker: Masker) -> TopEvent:
    # Marks may be longer than what they stand for, and the bound on an alert's size counts on that of a line.
    line = None if event.line is None else masker.text(_whole(event.line, LINE_CHARACTERS))[:LINE_CHARACTERS]
    return replace(event, template=masker.text(event.template), line=line, expected=_expected(event.expected, masker))


def _expected(expected: Expected | UnsetType, masker: Masker) -> Expected | UnsetType:
    if isinstance(expected, UnsetType):
        return expected
    instead = [replace(each, template=masker.text(each.template)) for each in expected.instead]
    return replace(expected, after=masker.text(expected.after), instead=instead)


def _whole(text: str, limit: int) -> str:
    """A text that was cut, without its last word: half an address or number would not be known for what it is."""
    return text if len(text) < limit else text[: max(text.rfind(" "), limit - 128)]
