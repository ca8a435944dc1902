#!/usr/bin/env python3
"""Writes longwatch.json, the Grafana dashboard, beside itself; `--check` only says whether it is up to date.

A row answers one question; every query is tested against the metrics that exist (tests/ops).
"""

import json
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("longwatch.json")
HERE = '{job=~"$job", instance=~"$instance"}'
RATE = "[$__rate_interval]"
WIDTH, HEIGHT, ACROSS = 8, 7, 3


@dataclass(frozen=True)
class Panel:
    """A chart, or with `kind` stat a number; `queries` are (PromQL, legend)."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    about: str = ""


def rate(name: str, by: str = "instance", extra: str = "") -> str:
    return f"sum by ({by}) (rate({name}{HERE[:-1]}{extra}}}{RATE}))"


def share(part: str, whole: str) -> str:
    return f"{rate(part)} / {rate(whole)}"


def quantile(name: str, q: float, by: str) -> str:
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({name}_bucket{HERE}{RATE})))"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Does it work?",
        (
            Panel("Ready", ((f"longwatch_ready{HERE}", "{{instance}}"),), kind="stat", about="1: what /readyz says."),
            Panel("Healthy", ((f"longwatch_healthy{HERE}", "{{instance}}"),), kind="stat", about="1: the loop runs."),
            Panel(
                "Seconds since the last commit",
                ((f"time() - (longwatch_last_commit_timestamp_seconds{HERE} > 0)", "{{instance}}"),),
                "s",
                "stat",
                "An idle worker has nothing to commit.",
            ),
            Panel("Uncommitted work", ((f"longwatch_uncommitted_seconds{HERE}", "{{instance}}"),), "s"),
            Panel("Age of the loop's last round", ((f"longwatch_loop_age_seconds{HERE}", "{{instance}}"),), "s"),
            Panel(
                "What runs",
                (
                    (f"longwatch_up_info{HERE}", "{{role}} {{pipeline}} {{instance}} {{version}}"),
                    (f"longwatch_bundle_info{HERE}", "bundle {{bundle}} config {{config}}"),
                    (f"longwatch_config_info{HERE}", "config in force {{digest}}"),
                ),
            ),
        ),
    ),
    (
        "Does it keep up?",
        (
            Panel("Records a second", ((rate("longwatch_records_total"), "{{instance}}"),), "ops"),
            Panel(
                "Lag",
                ((f"sum by (topic, partition) (longwatch_lag_records{HERE})", "{{topic}}[{{partition}}]"),),
                about="Records not read yet.",
            ),
            Panel(
                "Delay of the watermark",
                ((f"longwatch_watermark_delay_seconds{HERE}", "{{topic}}[{{partition}}]"),),
                "s",
                about="Of an idle partition it grows: compare with its lag.",
            ),
            Panel(
                "Time by stage",
                ((rate("longwatch_stage_seconds_sum", "stage", ', stage!="poll"'), "{{stage}}"),),
                "s",
                about="Seconds of work in a second; 1 is a worker that never waits.",
            ),
            Panel(
                "99th percentile by stage", ((quantile("longwatch_stage_seconds", 0.99, "stage"), "{{stage}}"),), "s"
            ),
            Panel(
                "Records that a restart reads again",
                ((f"longwatch_replay_records{HERE}", "{{topic}}[{{partition}}]"),),
            ),
        ),
    ),
    (
        "What does it find?",
        (
            Panel(
                "Alerts opened an hour",
                (
                    (
                        'sum by (rule, kind) (increase(longwatch_alerts_total{job=~"$job", instance=~"$instance",'
                        ' lifecycle="open"}[1h]))',
                        "{{rule}} {{kind}}",
                    ),
                ),
            ),
            Panel("Silenced messages a second", ((rate("longwatch_suppressed_total"), "{{instance}}"),), "ops"),
            Panel(
                "Refused configurations a second", ((rate("longwatch_reload_failures_total"), "{{instance}}"),), "ops"
            ),
            Panel("Open windows", ((f"longwatch_open_windows{HERE}", "{{instance}}"),)),
            Panel(
                "Share of events unlike any in training",
                ((share("longwatch_unseen_template_events_total", "longwatch_events_total"), "{{instance}}"),),
                "percentunit",
            ),
            Panel("Dead letters a second", ((rate("longwatch_dead_letters_total", "reason"), "{{reason}}"),), "ops"),
            Panel(
                "Share of late events",
                ((share("longwatch_late_events_total", "longwatch_events_total"), "{{instance}}"),),
                "percentunit",
            ),
            Panel("Outputs waiting for a commit", ((f"longwatch_pending_outputs{HERE}", "{{instance}}"),)),
        ),
    ),
    (
        "Is the group at rest?",
        (
            Panel(
                "Commits a second",
                (
                    (rate("longwatch_commits_total"), "{{instance}}"),
                    (rate("longwatch_aborted_commits_total"), "{{instance}} aborted"),
                ),
                "ops",
            ),
            Panel(
                "Rebalances in 10 minutes",
                (
                    (f"increase(longwatch_rebalances_total{HERE}[10m])", "{{instance}}"),
                    (f"increase(longwatch_partitions_lost_total{HERE}[10m])", "{{instance}} lost"),
                    (f"increase(longwatch_fenced_total{HERE}[10m])", "{{instance}} fenced"),
                ),
            ),
            Panel("Assigned partitions", ((f"longwatch_assigned_partitions{HERE}", "{{instance}}"),)),
        ),
    ),
    (
        "Are people told?",
        (
            Panel(
                "Tries a second",
                ((rate("longwatch_relay_deliveries_total", "target, outcome"), "{{target}} {{outcome}}"),),
                "ops",
            ),
            Panel(
                "99th percentile of a try",
                ((quantile("longwatch_relay_delivery_seconds", 0.99, "target"), "{{target}}"),),
                "s",
            ),
            Panel(
                "Messages that a target lacks",
                (
                    (f"longwatch_relay_waiting_messages{HERE}", "{{target}}"),
                    (f"longwatch_relay_pending_messages{HERE}", "all"),
                ),
            ),
            Panel(
                "Messages read a second",
                ((rate("longwatch_relay_messages_total"), "{{instance}}"),),
                "ops",
            ),
            Panel("Bytes held", ((f"longwatch_relay_pending_bytes{HERE}", "{{instance}}"),), "bytes"),
            Panel("Reading paused", ((f"longwatch_relay_paused{HERE}", "{{instance}}"),)),
        ),
    ),
    (
        "What does it cost?",
        (
            Panel("Memory", ((f"process_resident_memory_bytes{HERE}", "{{instance}}"),), "bytes"),
            Panel("Cores", ((rate("process_cpu_seconds_total"), "{{instance}}"),)),
            Panel("Open files", ((f"process_open_fds{HERE}", "{{instance}}"),)),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    return {
        "uid": "longwatch",
        "title": "longwatch",
        "tags": ["longwatch"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [_source(), _variable("job", ""), _variable("instance", '{job=~"$job"}')]},
        "panels": list(_panels()),
    }


def _panels() -> Any:
    number, top = count(1), 0
    for title, panels in ROWS:
        row = {"type": "row", "title": title, "collapsed": False, "panels": []}
        yield row | {"id": next(number), "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}
        for place, panel in enumerate(panels):
            at = {"x": place % ACROSS * WIDTH, "y": top + 1 + place // ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield _panel(panel) | {"id": next(number), "gridPos": at}
        top += 1 + -(-len(panels) // ACROSS) * HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
        for place, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": None}, "overrides": []},
        "options": {"legend": {"showLegend": True, "placement": "bottom"}} if panel.kind == "timeseries" else {},
    }


_SOURCE = {"type": "prometheus", "uid": "${source}"}


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(name: str, matching: str) -> dict[str, Any]:
    query = f"label_values(longwatch_up_info{matching}, {name})"
    choice = {"multi": True, "includeAll": True, "current": {"text": "All", "value": "$__all"}, "refresh": 2}
    return {"name": name, "type": "query", "datasource": _SOURCE, "query": query, "definition": query, **choice}


def main(arguments: list[str]) -> int:
    text = json.dumps(dashboard(), indent=1) + "\n"
    if arguments == ["--check"]:
        fresh = TARGET.exists() and TARGET.read_text() == text
        print("up to date" if fresh else f"{TARGET.name} is out of date: run ops/grafana/dashboard.py")
        return 0 if fresh else 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
