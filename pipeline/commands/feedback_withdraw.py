"""`longwatch feedback withdraw pipeline.yaml MARK_ID`: a mark no longer silences anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.config import load_config
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.feedback.making import append
from longwatch.pipeline.feedback.marks import Withdrawal
from longwatch.pipeline.feedback.recorded import read_book


def feedback_withdraw(config: Path, overrides: Mapping[str, str], mark_id: str) -> int:
    """Writes the withdrawal; UsageError where no such mark is in force."""
    loaded = load_config(config, overrides)
    book = read_book(loaded)
    if mark_id not in {mark.mark_id for mark in book.in_force(book.changed_at)}:
        raise UsageError(f"no mark {mark_id} is in force", f"`longwatch feedback list {config}` shows those that are")
    append(loaded, Withdrawal(mark_id, SystemClock().now_ms()))
    write_line(f"{mark_id}: taken back; a running worker raises its pattern again within a second")
    return 0
