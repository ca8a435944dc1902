"""Why the highest alerts were raised; the others are explained when somebody asks."""

from __future__ import annotations

from typing import Any

import msgspec

from longwatch.pipeline.report_page.alert_rows import key_of
from longwatch.pipeline.report_page.history import History
from longwatch.pipeline.why.case import Case, case_of
from longwatch.pipeline.why.deletion import Causes
from longwatch.pipeline.why.explanation import Explanation, explain_case, that_matter, without

MAX_EXPLAINED = 12


def explanations(history: History) -> dict[int, dict[str, Any]]:
    """{row of the alert: what was expected, and what its score hangs on}, the highest alert of each window.

    What another bundle judged, or a part of its window, this one cannot explain.
    """
    ranked = sorted(range(len(history.alerts)), key=lambda at: (-history.alerts[at][-1].score, at))
    chosen: dict[tuple[str, int, str, int], int] = {}
    for at in ranked:
        last = history.alerts[at][-1]
        is_own = last.digests.bundle == history.bundle.digest and last.swapped_at is msgspec.UNSET
        if last.top_events and is_own:
            chosen.setdefault(key_of(history.alerts[at][-1]), at)
    return {at: _told(history, at) for at in list(chosen.values())[:MAX_EXPLAINED]}


def _told(history: History, at: int) -> dict[str, Any]:
    case = case_of(history.alerts[at][-1], history.all_scores, history.names)
    return _row(explain_case(case, history.model), history)


def _row(found: Explanation, history: History) -> dict[str, Any]:
    instead = [[history.shown(each.template), round(each.share, 4)] for each in found.instead]
    kinds = {"line": found.line} if found.case.kind == "event" else {"line": found.line, "window": found.causes}
    return {"instead": instead, "hangsOn": {name: _hangs_on(found.case, each, history) for name, each in kinds.items()}}


def _hangs_on(case: Case, found: Causes, history: History) -> dict[str, Any]:
    named = [
        [each.row - case.top, history.shown(case.text(each.row)), round(each.drop, 2)] for each in that_matter(found)
    ]
    return {"score": round(found.score, 2), "without": round(without(found), 2), "named": named}
