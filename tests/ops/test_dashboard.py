"""The dashboard is what its script writes, and each of its queries asks for metrics that exist."""

import json
import subprocess
import sys

import promql_parser
import pytest
from ruamel.yaml import YAML

from longwatch.pipeline.metrics.families import families
from support.promql import ROOT, known_series, labels_in, promtool, series_in

SCRIPT = ROOT / "ops" / "grafana" / "dashboard.py"
DASHBOARD = json.loads(SCRIPT.with_name("longwatch.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_the_file_is_what_the_script_writes():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "up to date\n")


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_promql(query):
    promql_parser.parse(query.replace("$__rate_interval", "5m"))


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_only_for_metrics_and_labels_that_exist(query):
    asked = series_in(query)
    assert asked
    assert asked <= known_series()
    labels = {label for family in families().values() for label in family.labels}
    assert labels_in(query) <= labels | {"job", "instance", "le"}


def test_every_metric_is_on_the_dashboard():
    shown = set().union(*map(series_in, QUERIES))
    assert [name for name, family in families().items() if not shown & set(family.series)] == []


def test_no_panel_covers_another():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_reads_every_query(tmp_path):
    """As recording rules, which promtool parses whole; Grafana's variables are given values first."""
    given = {"[$__rate_interval]": "[5m]", "$job": ".*", "$instance": ".*"}
    records = []
    for number, query in enumerate(QUERIES):
        for variable, value in given.items():
            query = query.replace(variable, value)
        records.append({"record": f"panel:{number}", "expr": query})
    YAML(typ="safe").dump({"groups": [{"name": "panels", "rules": records}]}, tmp_path / "queries.yaml")
    done = promtool("check", "rules", tmp_path / "queries.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
