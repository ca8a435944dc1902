"""From files on disk to what is judged: sets by YAML, the split, and what labels may touch."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from longwatch.model.bench.case import Case
from longwatch.model.bench.threshold import Frozen, TestScores
from longwatch.model.bench.truth import Truth
from longwatch.pipeline.bench.registry import SHIPPED, cases_of, open_set, shipped_sets
from longwatch.pipeline.bench.set_file import read_set
from longwatch.pipeline.cli import main
from longwatch.pipeline.errors import ConfigError, InputError, UsageError
from support.datasets import dataset

START = datetime(2026, 1, 1, tzinfo=UTC)


def truth_of(case: Case) -> Truth:
    return case.truth.open([Frozen("none", 0, TestScores(np.zeros(len(case.test))), ())])


def cases_in(folder: Path, text: str) -> list[Case]:
    (folder / "set.yaml").write_text(text, encoding="utf-8")
    return cases_of(*open_set(str(folder / "set.yaml"), folder))


EVENTS = """
name: alerts
events:
  files: [alerts.csv]
  time: {column: [time], format: epoch_s}
  entity: [host]
  event: [kind]
  window: 1m
  max_events: 3
  context: 1
  anomalous: {column: step, normal: ['-']}
  split: {share: 0.5}
"""


@pytest.fixture
def alerts(tmp_path) -> Path:
    """Two hosts, an event every 10 s for 20 minutes; one early event and a late burst are labelled."""
    rows = [{"time": 1000 * 60 + 10 * at, "host": f"h{at % 2}", "kind": f"k{at % 3}", "step": "-"} for at in range(120)]
    rows[12] |= {"kind": "odd", "step": "early"}
    for at in (90, 92, 96):
        rows[at] |= {"kind": "odd", "step": "scan"}
    rows[97] |= {"step": "login"}
    pl.DataFrame(rows).write_csv(tmp_path / "alerts.csv")
    return tmp_path


def test_windows_of_the_past_that_hold_a_labelled_event_are_left_out(alerts):
    (case,) = cases_in(alerts, EVENTS)
    texts = {case.normal.windows.tokens.templates[i] for i in case.normal.windows.tokens.template_id.tolist()}
    assert case.cleaned == 1
    assert texts == {"event k0", "event k1", "event k2"}


def test_everything_judged_is_later_than_everything_learned(alerts):
    (case,) = cases_in(alerts, EVENTS)
    assert case.normal.windows.end_ms.max() < case.test.windows.start_ms.min()


def test_an_incident_is_all_windows_under_one_label(alerts):
    (case,) = cases_in(alerts, EVENTS)
    truth = truth_of(case)
    assert truth.names == ("login", "scan")
    assert truth.incident.tolist().count(1) == 2
    kinds = [case.test.windows.tokens.templates[i] for i in case.test.windows.tokens.template_id[truth.onset].tolist()]
    assert [kinds[at] for at in np.flatnonzero(truth.incident == 1)] == ["event odd", "event odd"]


def test_context_is_read_and_not_scored(alerts):
    (case,) = cases_in(alerts, EVENTS)
    tokens = case.test.windows.tokens
    assert set(tokens.scored.tolist()) == {0, 1}
    assert (tokens.lengths - tokens.scored).max() == 3
    assert (tokens.gap_ms[tokens.cu_seqlens[:-1]][tokens.scored == 0] == -1).all()


def test_every_seed_but_the_first_draws_its_own_past(alerts):
    (case,) = cases_in(alerts, EVENTS)
    sizes = [sum(len(part) for part in vars(case.past(seed)).values()) for seed in (0, 1, 2)]
    assert sizes[0] == len(case.normal)
    assert sizes[1] == sizes[2] == round(0.8 * len(case.normal))
    first, second = (case.past(seed).fit.windows.start_ms for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_traces_end_and_their_labels_come_from_a_column(tmp_path):
    rows = [{"part": "train", "label": 0, "calls": [1, 2, 3]} for _ in range(10)]
    rows += [{"part": "test", "label": 0, "calls": [1, 2]}, {"part": "test", "label": 1, "calls": []}]
    rows += [{"part": "train", "label": 1, "calls": [9]}]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    yaml = """
name: traces
sequences:
  files: [t.parquet]
  events: calls
  train: {part: [train]}
  test: {part: [test]}
  anomalous: {column: label, normal: ['0']}
"""
    (case,) = cases_in(tmp_path, yaml)
    assert (len(case.normal), case.cleaned) == (10, 1)
    assert case.test.windows.tokens.lengths.tolist() == [3, 1]
    assert truth_of(case).anomalous.tolist() == [False, True]


@pytest.mark.parametrize("labels", ["labels: labels.csv", "anomalous_line: 'disk died'"])
def test_raw_logs_learn_templates_from_normal_lines_before_the_split_alone(tmp_path, labels):
    moments = [START + timedelta(minutes=at) for at in range(200)]
    texts = [f"user u{at} logged in from 10.0.0.{at % 9}" if at % 2 else "job done" for at in range(200)]
    texts[20] = texts[150] = "disk died now"
    lines = [f"{moment.isoformat()} host1 {text}" for moment, text in zip(moments, texts, strict=True)]
    (tmp_path / "app.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    spans = [f"host1,{moments[at].isoformat()},{moments[at].isoformat()}" for at in (20, 150)]
    (tmp_path / "labels.csv").write_text("entity,start,end\n" + "\n".join(spans) + "\n", encoding="utf-8")
    yaml = f"""
name: app
lines:
  files: [app.log]
  format:
    text:
      header: '(?P<timestamp>\\S+) (?P<host>\\S+) (?P<message>.*)'
      timestamp: {{format: iso8601}}
  entity: {{group: host}}
  windows: {{max_events: 5, idle_gap: 1h, max_duration: 1d}}
  {labels}
  split: {{share: 0.5}}
"""
    (case,) = cases_in(tmp_path, yaml)
    learned = {case.normal.windows.tokens.templates[i] for i in case.normal.windows.tokens.template_id.tolist()}
    assert not any("disk" in text for text in learned)
    truth = truth_of(case)
    assert truth.anomalous.sum() == 1
    onset = case.test.windows.tokens.template_id[truth.onset].tolist()
    assert ["disk" in case.test.windows.tokens.templates[i] for i in onset] == [True]


def test_a_wrong_key_is_named_with_its_place(tmp_path):
    with pytest.raises(ConfigError, match=r"set.yaml:\d+:\d+.*windw"):
        cases_in(tmp_path, EVENTS.replace("window:", "windw:"))


def test_missing_files_and_columns_are_named(alerts):
    with pytest.raises(InputError, match=r"nothing\.csv"):
        cases_in(alerts, EVENTS.replace("alerts.csv", "nothing.csv"))
    with pytest.raises(InputError, match="no column `hots`"):
        cases_in(alerts, EVENTS.replace("[host]", "[hots]"))
    with pytest.raises(UsageError, match="neither a set nor a YAML file"):
        open_set("no_such_set", alerts)


@pytest.mark.parametrize("name", shipped_sets())
def test_shipped_sets_are_valid(name):
    assert read_set(SHIPPED / f"{name}.yaml").name == name


def test_the_example_is_valid():
    assert read_set(Path(__file__).parents[2] / "configs" / "bench" / "own.yaml").lines is not None


def test_the_command_prints_a_table_and_writes_lines_and_a_chart(alerts, capsys):
    (alerts / "set.yaml").write_text(EVENTS, encoding="utf-8")
    out = alerts / "out"
    code = main(["bench", str(alerts / "set.yaml"), "--no-networks", "--seeds", "2", "--out", str(out)])
    assert code == 0
    shown = capsys.readouterr().out
    assert "unseen event" in shown
    assert "2 incidents" in shown
    lines = [json.loads(line) for line in (out / "alerts.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"run", "method", "set"}
    assert {line["seed"] for line in lines if line["kind"] == "run"} == {0, 1}
    assert (out / "alerts.svg").read_text().lstrip().startswith("<?xml")


@pytest.mark.data
def test_openstack_has_no_signal(capsys):
    """The set's normal and abnormal sequences are the same."""
    root = dataset("openstack_sequences").parent
    assert main(["bench", "openstack_sequences", "--data", str(root), "--no-networks"]) == 0
    assert "NO SIGNAL" in capsys.readouterr().out
