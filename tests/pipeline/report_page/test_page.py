"""The file itself: its policy, its bytes, and figures that can be counted again from what the backtest wrote."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from longwatch.pipeline.cli import main
from longwatch.pipeline.labels import read_labels
from longwatch.pipeline.report_page.page import page
from support.browser import visit
from support.demo import HOME


def content_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


@pytest.fixture(scope="module")
def content(report) -> dict[str, Any]:
    return content_of(report.read_text("utf-8"))


def test_the_policy_lets_only_this_script_and_this_style_be(report):
    text = report.read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#x27;", "'")  # type: ignore[index]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]  # type: ignore[index]
        digest = b64encode(sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]+/", text.replace("http://www.w3.org/", "")) == []


def test_no_text_can_end_the_script_it_stands_in():
    hostile = "</script><script>x()</script><!--\u2028"
    text = page({"pipeline": hostile, "figures": {hostile: hostile}})
    assert text.count("</script>") == 2
    assert content_of(text)["figures"] == {hostile: hostile}


def test_the_same_command_gives_the_same_bytes(log, labels, tmp_path, monkeypatch):
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        words = ["backtest", str(HOME / "demo.yaml"), str(log), "--labels", str(labels), "--out", "out"]
        assert main(words) == 0
        texts.append(Path("out/report.html").read_bytes())
    assert texts[0] == texts[1]


def test_alerts_are_those_of_the_backtest_as_they_stood_last(report, content):
    alerts = pl.read_parquet(report.parent / "alerts.parquet").sort("revision").group_by("alert_id").last()
    columns = content["alerts"]["columns"]
    assert content["alerts"]["count"] == len(alerts) == len(set(columns["id"])) > 5
    scores = dict(alerts.select("alert_id", "score").iter_rows())
    assert columns["score"] == [round(scores[each], 2) for each in columns["id"]]


def test_each_point_of_the_curve_is_what_its_threshold_gives(report, content, labels):
    windows = pl.read_parquet(report.parent / "windows.parquet")
    incidents = read_labels(labels).anomalous
    highest = [
        windows.filter(pl.col("entity") == entity, pl.col("start_ms") <= end, pl.col("end_ms") >= start)["score"].max()
        for entity, start, end in incidents.iter_rows()
    ]
    touched = [score for score in highest if score is not None]
    days = (windows["end_ms"].max() - windows["start_ms"].min()) / 86_400_000
    tradeoff = content["tradeoff"]
    assert tradeoff["incidents"] == len(touched) >= 2
    assert len(tradeoff["curves"]["longwatch"]) > 5
    for threshold, daily, caught in tradeoff["curves"]["longwatch"]:
        reached = [score for score in windows["score"].to_list() if score >= threshold - 5e-5]
        assert daily == pytest.approx(len(reached) / days, abs=1e-3)
        assert caught == sum(score >= threshold - 5e-5 for score in touched)
    assert set(tradeoff["curves"]) == {"longwatch", "unseen event", "unseen 2-gram", "count vector"}


def test_the_events_around_an_alert_are_those_of_its_window(report, content):
    scores = pl.read_parquet(report.parent / "scores" / "*.parquet")
    rows, words = content["alerts"]["columns"], content["alerts"]["words"]
    assert content["alerts"]["around"]
    for at, around in content["alerts"]["around"].items():
        window = scores.filter(pl.col("offset").is_in([each for each in around["offset"] if each is not None]))
        assert window["entity"].unique().len() == 1
        assert window.sort("offset")["surprise"].round(2).to_list() == pytest.approx(
            [value for value, each in zip(around["surprise"], around["offset"], strict=True) if each is not None],
            abs=0.011,
        )
        top = rows["top"][int(at)][0]
        assert around["offset"][around["place"]] == top[0]
        assert words[around["template"][around["place"]]] == words[top[2]]


def test_drift_counts_every_event_and_a_new_kind_of_line_shows(report, content):
    scores = pl.read_parquet(report.parent / "scores" / "*.parquet").filter(pl.col("offset").is_not_null())
    drift = content["drift"]
    assert sum(row[1] for row in drift["bins"]) == len(scores)
    unseen = sum(row[1] * row[-1] for row in drift["bins"]) / len(scores)
    assert unseen == pytest.approx((scores["evidence"] & 1).mean(), abs=1e-5)
    assert 0 < drift["distance"] < 1
    assert all(
        abs(b - a) >= abs(d - c) for (_, a, b), (_, c, d) in zip(drift["movers"], drift["movers"][1:], strict=False)
    )


def test_a_backtest_without_labels_or_alerts_is_a_report_too(browser, log, tmp_path, capsys):
    words = ["backtest", str(HOME / "demo.yaml"), str(log), "--set", f"bundle={HOME / 'bundle'}"]
    quiet = [f"--set=thresholds.default.{kind}={{score: 100000}}" for kind in ("event", "window")]
    assert main([*words, *quiet, "--out", str(tmp_path / "out")]) == 0
    with visit(browser, tmp_path / "out" / "report.html") as found:
        said = found.page.locator(".panel").inner_text()
        assert said.startswith("No alert was raised: the highest window score is ")
        assert found.page.locator("#alerts .finder").count() == 0
        assert "windows alerted in 8 h" in found.page.locator("dl.tiles").inner_text()
        assert found.complaints == []
    told = capsys.readouterr().out
    assert "a day" not in told.splitlines()[0]
    assert "needed was event score 100000.00 (rule default), window score 100000.00 (rule default)" in told
