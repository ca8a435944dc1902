"""The page as it is first sent: one frame, one script and one style of its own origin, and what never changes."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from longwatch.model.scorer import Calibration
from longwatch.pipeline.detector import Rule
from longwatch.pipeline.report_page.page import as_json
from longwatch.pipeline.web.seen import BINS, STEP

SHARED_SCRIPTS = ("dom.js", "charts.js", "rows.js")
SCRIPTS = ("live_charts.js", "slider.js", "feed.js", "opened.js", "marks.js", "live.js")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def script() -> str:
    """The report's drawing and the page's own, as one."""
    return "'use strict';\n" + "\n".join([*_texts("report_page", SHARED_SCRIPTS), *_texts("web", SCRIPTS)])


def style() -> str:
    """The report's style and what the page adds."""
    return "\n".join([*_texts("report_page", ("page.css",)), *_texts("web", ("live.css",))])


def _texts(room: str, names: tuple[str, ...]) -> list[str]:
    home = files(f"longwatch.pipeline.{room}")
    return [(home / name).read_text("utf-8") for name in names]


def frame(content: Mapping[str, Any]) -> str:
    """The page, with what never changes inside as JSON that no tag can end."""
    return _FRAME.format(title=escape(f"{content['pipeline']}: live"), content=as_json(content))


def login(pipeline: str, wrong: bool) -> str:
    """The form that asks for the token."""
    said = '<p id="wrong" role="alert">That is not the token.</p>' if wrong else ""
    mark = ' aria-invalid="true" aria-describedby="wrong"' if wrong else ""
    return _LOGIN.format(title=escape(f"{pipeline}: token"), pipeline=escape(pipeline), said=said, mark=mark)


def thresholds(rules: list[Rule], calibration: Calibration) -> dict[str, Any]:
    """The thresholds in force, and how often normal data reaches each multiple of STEP: alerts a day, by kind."""
    steps = np.arange(BINS) * STEP
    per_day = {
        kind: [_short(calibration.expected_per_day(kind, float(score))) for score in steps]
        for kind in ("event", "window")
    }
    in_force = [
        {"rule": rule.name, "kind": kind, "score": round(note.value, 4), "setBy": note.set_by, "setting": note.setting}
        for rule in rules
        for kind, note in rule.thresholds.items()
    ]
    return {"step": STEP, "inForce": in_force, "normalPerDay": per_day}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="page.css">
</head>
"""

_FRAME = (
    _HEAD
    + """<body>
<noscript>This page draws itself with a script, which this browser does not run.</noscript>
<a class="skip" href="#alerts">Skip to the alerts</a>
<div id="page"></div>
<script type="application/json" id="content">{content}</script>
<script src="page.js"></script>
</body>
</html>
"""
)

_LOGIN = (
    _HEAD
    + """<body>
<main id="page" class="login">
<h1>{pipeline}</h1>
<form method="post" action="login">
<label class="field" for="token">Token of this page</label>
<input type="password" id="token" name="token" autocomplete="current-password" required autofocus{mark}>
{said}<button type="submit">Show the page</button>
</form>
</main>
</body>
</html>
"""
)
