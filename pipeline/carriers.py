"""Which events carry an alert: what a mark remembers of it, and what an alert must not go beyond to be silenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from longwatch.pipeline.detection import Detection
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.window_state import Window

MOST_CARRIERS = 5
"""Fixed, and not `alerts.top_events`: what is silenced must not hang on how much an alert shows."""

SHARE = 0.5
"""An event with at least this share of the highest event's score carries the alert with it."""

_UNSEEN = "unseen_template"


@dataclass(frozen=True)
class Carried:
    """One kind of event: `digest` is of its template, its evidence and, unless the template itself is new, of the
    template before it, since an ordinary line stands out only where it does not belong."""

    digest: str
    template_id: int


def carriers(window: Window, detection: Detection, stop: int, evidence_names: Sequence[str]) -> list[Carried]:
    """The kinds of events that carry a message over the first `stop` events, the highest first, each once."""
    rows = detection.top_rows(stop, MOST_CARRIERS)
    scores = np.round(detection.scores.event[rows], 4)
    found = {
        each.digest: each
        for row, score in zip(rows, scores.tolist(), strict=True)
        if score >= SHARE * float(scores[0])
        for each in [_carried(window, detection, row, evidence_names)]
    }
    return list(found.values())


def _carried(window: Window, detection: Detection, row: int, evidence_names: Sequence[str]) -> Carried:
    place = detection.first_row + row
    ids = window.columns["template_id"]
    template = END_ID if place >= len(window.columns) else int(ids[place])
    evidence = [name for name, flag in zip(evidence_names, detection.scores.flags[row], strict=True) if flag]
    before = "" if _UNSEEN in evidence else f"{int(ids[place - 1]) if place > 0 else END_ID:016x}"
    text = "\n".join([f"{template:016x}", before, *sorted(evidence)])
    return Carried(blake2b(text.encode(), digest_size=8).hexdigest(), template)
