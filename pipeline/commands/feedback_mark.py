"""`longwatch feedback false-positive pipeline.yaml ALERT_ID`: what is like this alert is silent for a while."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path

from pydantic_core import PydanticCustomError

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.commands.bounded import event_time_ms
from longwatch.pipeline.config import Duration, load_config
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.feedback.finding import find_alert
from longwatch.pipeline.feedback.making import append, make_mark
from longwatch.pipeline.feedback.marks import iso
from longwatch.pipeline.feedback.recorded import require_feedback


def feedback_mark(
    config: Path,
    overrides: Mapping[str, str],
    alert_id: str,
    duration: str | None,
    until: str | None,
    entities: list[str],
    reason: str,
    alert: Path | None,
) -> int:
    """Writes the mark, and says what it silences."""
    loaded = load_config(config, overrides)
    require_feedback(loaded)
    if (duration is None) == (until is None):
        raise UsageError("a mark needs an end", "say --for 7d, or --until 2026-12-01")
    found = find_alert(loaded, alert_id, alert)
    mark = make_mark(
        found,
        entities,
        SystemClock().now_ms(),
        for_ms=None if duration is None else milliseconds(duration),
        until_ms=None if until is None else event_time_ms(until),
        reason=reason,
        by=_user(),
    )
    append(loaded, mark)
    write_line(f"{mark.mark_id}: silent until {iso(mark.until_ms)} (event time) for {', '.join(mark.entities)}")
    write_line(f"  {mark.kind} alerts of rule {mark.rule} that nothing carries but:")
    for template in mark.templates or mark.pattern:
        write_line(f"    {template}")
    write_line(f"  take it back: longwatch feedback withdraw {config} {mark.mark_id}")
    return 0


def milliseconds(text: str) -> int:
    """A duration such as `7d`; UsageError for anything else."""
    try:
        return Duration.parse(text).ms
    except PydanticCustomError as error:
        raise UsageError(f"--for {text}: {error.message()}", "for example --for 12h or --for 7d") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
