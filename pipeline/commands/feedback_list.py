"""`longwatch feedback list pipeline.yaml`: what is silent, for whom, until when, and who said so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.config import SilenceRule, load_config
from longwatch.pipeline.console import write_line
from longwatch.pipeline.feedback.marks import Mark, iso
from longwatch.pipeline.feedback.recorded import read_book, require_feedback


def feedback_list(config: Path, overrides: Mapping[str, str], everything: bool) -> int:
    """Prints rules and marks; one has ended when its end has passed on this machine's clock."""
    loaded = load_config(config, overrides)
    feedback, book, now_ms = require_feedback(loaded), read_book(loaded), SystemClock().now_ms()
    for rule in feedback.rules:
        write_line(_rule_line(rule))
    in_force = {mark.mark_id: mark for mark in book.in_force(book.changed_at)}
    marks = [entry for _, entry, _ in book.entries if isinstance(entry, Mark)]
    shown = [mark for mark in marks if everything or in_force.get(mark.mark_id) is mark]
    for mark in shown:
        write_line(mark_line(mark, now_ms, taken_back=in_force.get(mark.mark_id) is not mark))
    broken = f"; {book.broken} records are no marks" if book.broken else ""
    write_line(f"{len(feedback.rules)} rules, {len(shown)} marks{broken}")
    return 0


def _rule_line(rule: SilenceRule) -> str:
    what = f"{rule.kind or 'all'} alerts of {rule.rule or 'any rule'}"
    times = "".join(f" {name} {text}" for name, text in (("since", rule.since), ("until", rule.until)) if text)
    return f"rule {rule.name}  {what}{times}  for {', '.join(rule.entities)}: {' | '.join(rule.templates)}"


def mark_line(mark: Mark, now_ms: int, *, taken_back: bool) -> str:
    """One line for a mark."""
    state = "taken back" if taken_back else "ended" if mark.until_ms < now_ms else "silent"
    who = f" by {mark.by}" if mark.by else ""
    why = f" ({mark.reason})" if mark.reason else ""
    what = f"{mark.kind} alerts of {mark.rule}"
    where = f"for {', '.join(mark.entities)}: {' | '.join(mark.templates or mark.pattern)}"
    return f"{mark.mark_id}  {state} until {iso(mark.until_ms)}  {what}{who}{why}  {where}"
