"""An alert explained: what was expected, what its score hangs on, and how that reads on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from msgspec import UnsetType

from longwatch.pipeline.alerts import Alert, TopEvent, iso_time
from longwatch.pipeline.assembly import Model
from longwatch.pipeline.why.case import Case
from longwatch.pipeline.why.deletion import Cause, Causes, causes
from longwatch.pipeline.why.expected import Expected, expected
from longwatch.pipeline.why.words import evidence_words

LEAST_DROP, LEAST_SHARE = 0.05, 0.01
AROUND = 4


@dataclass(frozen=True)
class Explanation:
    """`line`: what the event that stands out hangs on; `causes`: what the alert's score does, the same for an event's.

    `instead` holds what was likely there; it may be empty.
    """

    case: Case
    line: Causes
    causes: Causes
    instead: list[Expected]


def explain_case(case: Case, model: Model) -> Explanation:
    """Asks the scorer; some hundred times the cost of scoring the window once."""
    here = case.text(case.top)
    likely = [each for each in expected(case, model) if each.share >= LEAST_SHARE and each.template != here]
    line = causes(replace(case, kind="event"), model)
    return Explanation(case, line, line if case.kind == "event" else causes(case, model), likely)


def that_matter(found: Causes) -> list[Cause]:
    """Those of the named events without which the score is lower by 0.05 or more."""
    return [cause for cause in found.named if cause.drop >= LEAST_DROP]


def without(found: Causes) -> float:
    """The score without those that matter, as far as they add up."""
    return found.score - sum(cause.drop for cause in that_matter(found))


def render(alert: Alert, found: Explanation) -> str:
    """The explanation for a terminal."""
    return "\n".join(
        [*_head(alert), "", *_top(alert, found), "", *_instead(found), "", *_hangs_on(found), "", *_around(found)]
    )


def _head(alert: Alert) -> Iterator[str]:
    yield f"alert {alert.alert_id}, {alert.lifecycle}: {alert.entity}"
    yield f"{alert.kind} score {alert.score:.2f}, threshold {alert.threshold.value:.2f} (rule {alert.rule})"
    window = alert.window
    yield f"{window.num_events:,} events from {window.start_time} to {window.end_time}"


def _top(alert: Alert, found: Explanation) -> Iterator[str]:
    case, row = found.case, found.case.rows.row(found.case.top, named=True)
    place = "the window's end" if row["offset"] is None else f"{iso_time(row['event_time_ms'])}, offset {row['offset']}"
    shown = next((top for top in alert.top_events if top.offset == row["offset"]), None)
    yield f"What stands out: {place}, score {row['event_score']:.2f}, surprise {row['surprise']:.2f} nats"
    yield f"  {shown.line if shown is not None and shown.line is not None else case.text(case.top)}"
    if shown is not None:
        yield f"  {evidence_words(shown.evidence)}"
        yield from _usual(shown)


def _usual(event: TopEvent) -> Iterator[str]:
    if not isinstance(event.expected, UnsetType):
        yield f"In training, after `{event.expected.after}` ({event.expected.times:,} times) came"
        for each in event.expected.instead:
            yield f"  {each.share:6.1%}  {each.template}"


def _instead(found: Explanation) -> Iterator[str]:
    if not found.instead:
        yield "Expected there: nothing else that the network held for likely"
        return
    yield "The network, which has read all before it, expected there:"
    for each in found.instead:
        yield f"  {each.share:6.1%}  {each.template}"


def _hangs_on(found: Explanation) -> Iterator[str]:
    yield from _named(found.case, found.line, "That line's score")
    if found.case.kind == "window":
        yield ""
        yield from _named(found.case, found.causes, "The window's score")


def _named(case: Case, found: Causes, what: str) -> Iterator[str]:
    named = that_matter(found)
    if not named:
        yield f"{what} hangs on no other event: taking any of those near it away does not lower it"
        return
    yield f"{what} hangs on these; without them it is {without(found):.2f} instead of {found.score:.2f}:"
    for cause in named:
        yield f"  {-cause.drop:+6.2f}  {_distance(cause.row - case.top)}: {case.text(cause.row)}"


def _distance(rows: int) -> str:
    return f"{abs(rows)} event{'s' * (abs(rows) != 1)} {'earlier' if rows < 0 else 'later'}"


def _around(found: Explanation) -> Iterator[str]:
    case = found.case
    yield "Around it (time, surprise, template):"
    for row in range(max(0, case.top - AROUND), min(len(case.rows), case.top + AROUND + 1)):
        values = case.rows.row(row, named=True)
        mark = ">" if row == case.top else " "
        yield f"{mark} {iso_time(values['event_time_ms'])[11:]}  {values['surprise']:6.2f}  {case.text(row)}"
