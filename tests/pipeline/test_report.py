"""Figures of a replay, on windows made by hand, where each can be counted on fingers."""

import dataclasses
import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from longwatch.model.scorer import Evidence
from longwatch.pipeline.alerts import Alert, AlertKey, Digests, SourceNote, ThresholdNote, WindowNote
from longwatch.pipeline.labels import Labels
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.records import Partition
from longwatch.pipeline.report import (
    Slice,
    detection,
    floors,
    summary,
    threshold_sweep,
    tokens_of,
    units_of,
    windows_of,
)
from longwatch.pipeline.score_log import SCORE_SCHEMA
from support.windows import make_tokens

DAY = 86_400_000
LOGS = Partition("logs", "uuid", 0)


def make_windows(*rows: tuple[str, int, float, int | None]) -> pl.DataFrame:
    """(entity, day it starts, score, events until the alert or None) as `windows_of` gives them, 10 events each."""
    columns = {
        "topic": ["logs"] * len(rows),
        "partition": [0] * len(rows),
        "entity": [row[0] for row in rows],
        "first_offset": [10 * at for at in range(len(rows))],
        "start_ms": [DAY * row[1] for row in rows],
        "end_ms": [DAY * row[1] + 1000 for row in rows],
        "events": [10] * len(rows),
        "score": [row[2] for row in rows],
        "delay": pl.Series([row[3] for row in rows], dtype=pl.Int64),
    }
    return pl.DataFrame(columns).with_columns(alerted=pl.col("delay").is_not_null())


def entity_labels(*anomalous: str) -> Labels:
    nothing = pl.Series([None] * len(anomalous), dtype=pl.Int64)
    frame = pl.DataFrame({"entity": pl.Series(anomalous, dtype=pl.String), "start_ms": nothing, "end_ms": nothing})
    return Labels(frame, by_time=False)


def time_labels(entity: str, start_ms: int, end_ms: int) -> Labels:
    return Labels(pl.DataFrame({"entity": [entity], "start_ms": [start_ms], "end_ms": [end_ms]}), by_time=True)


FOUR = make_windows(("n1", 0, 1.0, None), ("bad1", 1, 2.0, 4), ("n2", 3, 3.0, 9), ("bad2", 4, 4.0, 6))


def test_windows_events_and_alerts_are_counted_and_a_day_is_a_day():
    assert summary(FOUR, None) == {"windows": 4, "events": 40, "days": 4.0, "alerts": 3, "alerts_per_day": 0.75}


def test_no_windows_are_no_figures_and_no_error():
    nothing = FOUR.clear()
    assert summary(nothing, None) == {"windows": 0, "events": 0, "days": 0.0, "alerts": 0, "alerts_per_day": None}
    assert threshold_sweep(FOUR.head(1), None)["alerts"].to_list() == [1]


def test_detection_on_four_windows():
    """Alerted: bad1, n2, bad2. Of the four pairs of bad and normal, three are in order: n2 lies above bad1."""
    found = summary(FOUR, entity_labels("bad1", "bad2"))["detection"]
    assert (found["true_alarms"], found["false_alarms"], found["missed"]) == (2, 1, 0)
    assert (found["units"], found["anomalous"]) == (4, 2)
    assert found["precision"] == pytest.approx(2 / 3, abs=1e-4)
    assert (found["recall"], found["f1"], found["auroc"]) == (1.0, 0.8, 0.75)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-5)
    assert found["delay_events_median"] == 5.0


def test_ties_count_half_in_auroc():
    tied = make_windows(("n", 0, 1.0, None), ("bad", 1, 1.0, None))
    assert summary(tied, entity_labels("bad"))["detection"]["auroc"] == 0.5


def test_entities_are_judged_whole_by_their_highest_window_and_first_alert():
    windows = make_windows(("a", 0, 1.0, None), ("b", 0, 5.0, 7), ("a", 1, 3.0, 2), ("b", 1, 4.0, 3))
    units = units_of(windows, entity_labels("a"))
    assert units.select("entity", "score", "alerted", "delay", "anomalous").rows() == [
        ("a", 3.0, True, 2, True),
        ("b", 5.0, True, 3, False),
    ]


def test_windows_are_judged_one_by_one_where_incidents_have_times():
    windows = make_windows(("a", 0, 1.0, None), ("a", 1, 5.0, 7), ("b", 1, 3.0, None))
    units = units_of(windows, time_labels("a", DAY + 500, DAY + 600))
    assert units["anomalous"].to_list() == [False, True, False]
    assert detection(units)["f1"] == 1.0


@pytest.mark.parametrize("labels", [entity_labels(), entity_labels("n1", "bad1", "n2", "bad2")], ids=["none", "all"])
def test_figures_without_both_kinds_are_still_json(labels):
    found = json.loads(json.dumps(summary(FOUR, labels), allow_nan=False))["detection"]
    assert found["auroc"] is None
    assert found["units"] == 4


def test_the_slice_keeps_windows_by_their_start_the_end_not_included():
    assert Slice().keep(FOUR).equals(FOUR)
    assert Slice(start_ms=DAY).keep(FOUR)["entity"].to_list() == ["bad1", "n2", "bad2"]
    assert Slice(end_ms=3 * DAY).keep(FOUR)["entity"].to_list() == ["n1", "bad1"]
    assert Slice(DAY, 4 * DAY).keep(FOUR)["entity"].to_list() == ["bad1", "n2"]


@pytest.mark.parametrize("labels", [None, entity_labels("bad1", "bad2")])
def test_each_row_of_the_sweep_is_what_its_threshold_gives(labels):
    rng = np.random.default_rng(0)
    rows = [(f"n{at}", at, float(score), None) for at, score in enumerate(rng.exponential(1, 60))]
    windows = make_windows(*rows, ("bad1", 61, 2.5, None), ("bad2", 62, 9.0, None))
    table = threshold_sweep(windows, labels)
    assert table["threshold"].is_sorted()
    assert 5 < len(table) <= 20
    for row in table.iter_rows(named=True):
        reached = windows.filter(pl.col("score") >= row["threshold"])
        assert row["alerts"] == len(reached) > 0
        assert row["alerts_per_day"] == pytest.approx(len(reached) / 62)
        if labels is not None:
            bad = len(reached.filter(pl.col("entity").str.starts_with("bad")))
            assert (row["true_alarms"], row["missed"]) == (bad, 2 - bad)
            assert row["f1"] == pytest.approx(2 * bad / (len(reached) + 2), abs=1e-4)


@pytest.mark.parametrize("ended", [True, False])
def test_floors_see_what_no_training_window_held(ended):
    """Two windows are of the training grammar, one has a template that it lacks; no training window needs to end."""
    evidence = Evidence.fit(make_tokens([40] * 30, seed=1, end=ended))
    tokens = make_tokens([30, 30, 30], seed=2)
    strange = tokens.template_id.copy()
    strange[70] = 12345
    windows = make_windows(("n1", 0, 0.0, None), ("n2", 1, 0.0, None), ("bad", 2, 0.0, None))
    found = floors(windows, dataclasses.replace(tokens, template_id=strange), evidence, entity_labels("bad"))
    assert list(found) == ["unseen event", "unseen 2-gram", "count vector"]
    assert found["unseen event"]["auroc"] == 1.0
    assert found["unseen event"]["any"]["f1"] == found["unseen event"]["f1_in_hindsight"] == 1.0
    assert (found["count vector"]["auroc"] == 0.5) == (not ended)
    for floor in found.values():
        assert floor["f1_in_hindsight"] >= floor["any"]["f1"]


def make_scores(*rows: tuple[str, int, int | None, int, float, int, int]) -> pl.LazyFrame:
    """(entity, first offset, offset, event time, window score, template, gap)"""
    names = ["entity", "first_offset", "offset", "event_time_ms", "window_score", "template_id", "gap_ms"]
    columns: dict[str, Any] = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    names = ("surprise", "event_score", "evidence", "partition", "parameter_chars")
    zeros = {name: [0] * len(rows) for name in names}
    frame = pl.DataFrame(
        {**columns, **zeros, "topic": ["logs"] * len(rows), "new_template": [None] * len(rows)},
        schema_overrides=SCORE_SCHEMA,
    )
    return frame.select(SCORE_SCHEMA.names()).lazy()


def make_alert(entity: str, first_offset: int, num_events: int, lifecycle: str = "open", kind: str = "window") -> Alert:
    return Alert(
        schema="longwatch.alert/1",
        alert_id=AlertKey(LOGS, entity, first_offset, f"default/{kind}").alert_id,
        revision=1,
        lifecycle=lifecycle,
        rule="default",
        kind=kind,
        entity=entity,
        score=5.0,
        threshold=ThresholdNote(1.0, "score", 1.0, 1.0),
        source=SourceNote("logs", "uuid", 0, 9),
        window=WindowNote(first_offset, 9, "", "", num_events, 0, None),
        top_events=[],
        digests=Digests("b", "c", "t"),
        partial=False,
        instance="",
    )


SCORES = make_scores(
    ("a", 0, 0, 100, 1.0, 7, -1),
    ("b", 1, 1, 110, 0.5, 8, -1),
    ("a", 0, 2, 120, 3.0, 8, 20),
    ("a", 0, None, 120, 4.0, END_ID, 0),
    ("a", 5, 5, 900, 0.1, 9, 780),
)


def test_a_window_has_its_times_its_events_without_the_end_and_its_highest_score():
    windows = windows_of(SCORES, [])
    assert windows.select("entity", "first_offset", "start_ms", "end_ms", "events", "score", "alerted").rows() == [
        ("a", 0, 100, 120, 2, 4.0, False),
        ("a", 5, 900, 900, 1, 0.1, False),
        ("b", 1, 110, 110, 1, 0.5, False),
    ]


def test_the_delay_is_that_of_a_windows_first_alert_whichever_rule_raised_it():
    alerts = [
        make_alert("a", 0, 9, "open", "window"),
        make_alert("a", 0, 2, "open", "event"),
        make_alert("b", 1, 1, "close"),
    ]
    windows = windows_of(SCORES, alerts)
    assert windows.select("entity", "first_offset", "alerted", "delay").rows() == [
        ("a", 0, True, 2),
        ("a", 5, False, None),
        ("b", 1, False, None),
    ]


def test_the_baselines_read_each_windows_own_events_in_order_its_end_last():
    windows = windows_of(SCORES, [])
    tokens = tokens_of(SCORES, windows, {})
    assert tokens.template_id.tolist() == [7, 8, END_ID, 9, 8]
    assert tokens.cu_seqlens.tolist() == [0, 3, 4, 5]
    assert tokens.gap_ms.tolist() == [-1, 20, 0, 780, -1]
    assert tokens.num_scores == 5
