"""The page itself: one file, scripts and styles inside, and a policy that lets nothing else run or load."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from longwatch.pipeline.report_page.alert_rows import alert_rows
from longwatch.pipeline.report_page.drift import drift
from longwatch.pipeline.report_page.explanations import explanations
from longwatch.pipeline.report_page.history import History, shown
from longwatch.pipeline.report_page.timeline import heat, timeline
from longwatch.pipeline.report_page.tradeoff import tradeoff
from longwatch.pipeline.why.words import MEANING

SCRIPTS = ("dom.js", "charts.js", "rows.js", "sections.js", "alerts.js", "alert.js", "page.js")


def write_report(
    path: Path, history: History, figures: Mapping[str, Any], pipeline: str, provenance: Mapping[str, str]
) -> None:
    """Writes the report; equal histories and provenance give equal bytes."""
    content = {
        "pipeline": shown(pipeline),
        "figures": figures,
        "period": history.period,
        "byTime": history.truth is not None and history.truth.by_time,
        "timeline": timeline(history),
        "alerts": {**alert_rows(history), "why": explanations(history)},
        "tradeoff": tradeoff(history),
        "heat": heat(history),
        "drift": drift(history),
        "evidence": list(history.bundle.evidence.names),
        "meaning": MEANING,
        "provenance": [[name, shown(value)] for name, value in provenance.items()],
    }
    path.write_text(page(content), encoding="utf-8")


def page(content: Mapping[str, Any]) -> str:
    """HTML with the content inside as JSON that no tag can end."""
    home = files("longwatch.pipeline.report_page")
    script = "'use strict';\n" + "\n".join((home / name).read_text("utf-8") for name in SCRIPTS)
    style = (home / "page.css").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "title": f"{content['pipeline']}: backtest", "style": style, "script": script}
    texts = {name: text if name in ("style", "script") else escape(text) for name, text in parts.items()}
    return _PAGE.format(**texts, content=as_json(content))


def as_json(content: Mapping[str, Any]) -> str:
    """JSON that may stand between script tags."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<noscript>This report draws itself with the script inside it, which this browser does not run.</noscript>
<a class="skip" href="#alerts">Skip to the alerts</a>
<div id="page"></div>
<script type="application/json" id="content">{content}</script>
<script>{script}</script>
</body>
</html>
"""
