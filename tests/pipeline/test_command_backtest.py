"""`longwatch backtest`: what it writes, and that its figures can be counted again from what it wrote."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from longwatch.pipeline.cli import main
from longwatch.pipeline.demo.generator import DEMO_FIRST_DAY
from longwatch.pipeline.demo.incidents import Incident, incidents
from longwatch.pipeline.score_log import SCORE_SCHEMA
from support.demo import HOME, demo_frame

HOURS = (8, 16)
FLOORS = ["unseen event", "unseen 2-gram", "count vector"]
DAY_MS = 86_400_000


def backtest(log: Path, out: Path, *more: str) -> int:
    words = ["backtest", str(HOME / "demo.yaml"), str(log), "--out", str(out), "--set", f"bundle={HOME / 'bundle'}"]
    return main([*words, "--set", "windows.max_events=300", "--set", "windows.overlap=64", *more])


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


@cache
def planted() -> list[Incident]:
    """Those of the replayed hours."""
    frame = demo_frame(HOURS)
    ids = set(frame["incident"].drop_nulls())
    return [incident for incident in incidents(7, DEMO_FIRST_DAY) if incident.id in ids]


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    lines = demo_frame(HOURS)["line"].to_list()
    lines.insert(500, "no header here")
    path = tmp_path_factory.mktemp("log") / "old.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="module", params=["entities", "incidents"])
def made(request, log, tmp_path_factory) -> tuple[str, Path]:
    """A backtest with labels of either kind: which, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    hosts = {incident.entity for incident in planted()}
    rows = {
        "entities": ["host,label", *(f"{host},attack" for host in sorted(hosts)), "web-01,Normal"],
        "incidents": ["host,start,end", *(f"{i.entity},{iso(i.start_ms)},{iso(i.end_ms)}" for i in planted())],
    }
    (folder / "labels.csv").write_text("\n".join(rows[request.param]) + "\n")
    assert backtest(log, folder / "out", "--labels", str(folder / "labels.csv")) == 0
    return request.param, folder / "out"


def units(kind: str, windows: pl.DataFrame) -> list[tuple[float, bool, bool]]:
    """(score, alerted, anomalous) of what is judged, counted here anew."""
    rows = windows.select("entity", "start_ms", "end_ms", "score", "alerted").rows()
    if kind == "incidents":
        return [
            (score, alerted, any(i.entity == host and i.start_ms <= end and start <= i.end_ms for i in planted()))
            for host, start, end, score, alerted in rows
        ]
    bad = {incident.entity for incident in planted()}
    hosts = sorted({row[0] for row in rows})
    return [
        (max(r[3] for r in rows if r[0] == host), any(r[4] for r in rows if r[0] == host), host in bad)
        for host in hosts
    ]


def read(out: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    return json.loads((out / "summary.json").read_text()), pl.read_parquet(out / "windows.parquet")


def test_it_writes_summary_alerts_windows_thresholds_scores_and_the_page(made):
    _, out = made
    assert {path.name for path in out.iterdir()} == {
        "summary.json",
        "alerts.parquet",
        "windows.parquet",
        "thresholds.csv",
        "report.html",
        "provenance.json",
        "scores",
    }
    assert list((out / "scores").glob("*.parquet"))


def test_counts_are_those_of_the_windows_and_of_the_log(made):
    figures, windows = read(made[1])
    days = (windows["end_ms"].max() - windows["start_ms"].min()) / DAY_MS
    assert (figures["windows"], figures["events"]) == (len(windows), windows["events"].sum())
    assert figures["events"] == len(demo_frame(HOURS))
    assert figures["alerts"] == windows["alerted"].sum() > 3
    assert figures["days"] == pytest.approx(days, abs=1e-4)
    assert figures["alerts_per_day"] == pytest.approx(figures["alerts"] / days, abs=1e-3)
    assert figures["records"] == {"read": len(demo_frame(HOURS)) + 1, "dead_letters": 1, "late": 0, "suppressed": 0}


def test_detection_figures_match_those_counted_from_the_windows(made):
    kind, out = made
    figures, windows = read(out)
    judged, found = units(kind, windows), figures["detection"]
    hits = sum(alerted and bad for _, alerted, bad in judged)
    false = sum(alerted and not bad for _, alerted, bad in judged)
    missed = sum(bad and not alerted for _, alerted, bad in judged)
    assert (found["units"], found["anomalous"]) == (len(judged), hits + missed)
    assert (found["true_alarms"], found["false_alarms"], found["missed"]) == (hits, false, missed)
    assert found["precision"] == pytest.approx(hits / (hits + false), abs=1e-4)
    assert found["recall"] == pytest.approx(hits / (hits + missed), abs=1e-4)
    assert found["f1"] == pytest.approx(2 * hits / (2 * hits + false + missed), abs=1e-4)
    pairs = [(up, low) for up, _, bad in judged if bad for low, _, other in judged if not other]
    area = sum(1.0 if up > low else 0.5 if up == low else 0.0 for up, low in pairs) / len(pairs)
    assert found["auroc"] == pytest.approx(area, abs=1e-5)
    assert hits >= 2


def test_the_cheap_baselines_are_beside_it(made):
    figures, _ = read(made[1])
    assert list(figures["floors"]) == FLOORS
    for floor in figures["floors"].values():
        assert 0 <= floor["auroc"] <= 1
        assert floor["f1_in_hindsight"] >= floor["any"]["f1"]


def test_windows_are_the_scores_and_alerts_summed_up(made):
    _, out = made
    windows = pl.read_parquet(out / "windows.parquet")
    scores, alerts = pl.read_parquet(out / "scores" / "*.parquet"), pl.read_parquet(out / "alerts.parquet")
    assert scores.schema == SCORE_SCHEMA
    key = ["topic", "partition", "entity", "first_offset"]
    highest = scores.group_by(key).agg(pl.col("window_score").max().alias("score")).sort(key)
    assert windows.sort(key).select(*key, "score").equals(highest)
    opened = alerts.filter(pl.col("lifecycle") == "open").select(key).unique().sort(key)
    assert windows.filter("alerted").select(key).sort(key).equals(opened)
    assert scores["offset"].drop_nulls().is_unique().all()


def test_each_threshold_of_the_sweep_gives_what_it_says(made):
    kind, out = made
    judged = units(kind, pl.read_parquet(out / "windows.parquet"))
    table = pl.read_csv(out / "thresholds.csv")
    assert len(table) > 3
    for row in table.iter_rows(named=True):
        reached = [bad for score, _, bad in judged if score >= row["threshold"]]
        assert (row["alerts"], row["true_alarms"]) == (len(reached), sum(reached))


def test_a_folder_with_something_in_it_is_refused_and_left_as_it_was(log, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep me")
    assert backtest(log, tmp_path) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {tmp_path} is not ")
    assert "hint: choose another folder with --out" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_labels_that_cannot_be_read_end_it_before_anything_is_written(log, tmp_path, capsys):
    assert backtest(log, tmp_path / "out", "--labels", str(tmp_path / "nowhere.csv")) == 1
    assert "nowhere.csv: labels cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_start_and_end_choose_windows_by_their_start_and_change_none(log, made, tmp_path):
    whole = pl.read_parquet(made[1] / "windows.parquet")
    low, high = whole["start_ms"].quantile(0.3), whole["start_ms"].quantile(0.7)
    assert backtest(log, tmp_path / "out", "--start", iso(int(low)), "--end", iso(int(high))) == 0
    figures, part = read(tmp_path / "out")
    assert part.equals(whole.filter((pl.col("start_ms") >= int(low)) & (pl.col("start_ms") < int(high))))
    assert 0 < figures["windows"] == len(part) < len(whole)
    assert "detection" not in figures


def test_a_stretch_without_windows_is_a_report_of_nothing(log, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("host,label\nvpn-01,attack\n")
    more = ("--start", "2031-01-01", "--labels", str(tmp_path / "labels.csv"))
    assert backtest(log, tmp_path / "out", *more) == 0
    figures, windows = read(tmp_path / "out")
    assert (figures["windows"], len(windows)) == (0, 0)
    assert "0 events in 0 windows" in capsys.readouterr().out
