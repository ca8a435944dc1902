"""Every event's scores as columns, once each, whatever the batches."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.model.scorer import Evidence
from longwatch.pipeline.detection import Scores
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.packing import END_ID, has_end, pack
from longwatch.pipeline.score_log import SCORE_SCHEMA, score_frame
from longwatch.pipeline.window_state import Window, WindowRules
from longwatch.pipeline.windows import PartitionWindows
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_engine, demo_frame

CONFIG = demo_config(BUSY)
KEY = ["entity", "first_offset", "offset"]


def windows_of(steps: list[tuple[int, str]], idle_gap_ms: int = 100) -> list[Window]:
    """Windows of one partition in the order they were touched: (event time, entity) steps, then silence."""
    events = pl.DataFrame(
        {
            "offset": range(len(steps)),
            "event_time_ms": [time for time, _ in steps],
            "entity": [entity for _, entity in steps],
            "line": [f"line {at}" for at in range(len(steps))],
            "template_id": pl.Series(range(len(steps)), dtype=pl.UInt64),
            "template": [f"template {at}" for at in range(len(steps))],
            "parameter_chars": pl.Series([0] * len(steps), dtype=pl.Int32),
            "is_new": [False] * len(steps),
        }
    )
    state = PartitionWindows(WindowRules(idle_gap_ms=idle_gap_ms))
    records = events.select("offset").with_columns(timestamp_ms=pl.lit(0, pl.Int64))
    windows = [*state.advance(records, events).windows, *state.close_all(len(steps))]
    return list({id(window): window for window in windows}.values())


def scores_of(windows: list[Window], flags: list[list[bool]] | None = None) -> Scores:
    count = pack(windows).num_scores
    values = np.arange(count, dtype=np.float64)
    raised = np.zeros((count, 3), bool) if flags is None else np.array(flags)
    return Scores(values.astype(np.float32), raised, values / 2, values * 3)


def test_one_row_for_each_event_and_for_the_end_of_a_window_that_went_quiet():
    windows = windows_of([(0, "a"), (10, "b"), (20, "a"), (500, "a")])
    frame = score_frame([(LOGS, window) for window in windows], pack(windows), scores_of(windows))
    assert frame.schema == SCORE_SCHEMA
    assert frame["surprise"].to_list() == list(range(len(frame)))
    assert frame["event_score"].to_list() == [row / 2 for row in range(len(frame))]
    found = {
        key: rows.select("offset", "event_time_ms").rows() for key, rows in frame.group_by("entity", "first_offset")
    }
    assert found == {
        ("a", 0): [(0, 0), (2, 20), (None, 20)],
        ("b", 1): [(1, 10), (None, 10)],
        ("a", 3): [(3, 500), (None, 500)],
    }
    assert set(frame.filter(pl.col("offset").is_null())["template_id"]) == {END_ID}


def test_evidence_is_one_bit_for_each_flag_the_first_lowest():
    windows = windows_of([(0, "a"), (1, "a"), (2, "a")])
    flags = [[False, False, False], [True, False, False], [False, True, True], [True, True, True]]
    frame = score_frame([(LOGS, windows[0])], pack(windows), scores_of(windows, flags))
    assert frame["evidence"].to_list() == [0, 1, 6, 7]


def test_a_window_that_closes_without_a_new_event_adds_no_row():
    windows = windows_of([(0, "a"), (1, "a")])
    windows[0].num_scored = 3
    frame = score_frame([(LOGS, windows[0])], pack(windows), scores_of(windows))
    assert frame.schema == SCORE_SCHEMA
    assert frame.is_empty()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abc")), min_size=1, max_size=20), st.data())
def test_what_was_scored_before_is_left_out(steps, data):
    time, timed = 0, []
    for gap, entity in steps:
        time += gap
        timed.append((time, entity))
    windows = windows_of(timed)
    for window in windows:
        window.num_scored = data.draw(st.integers(0, len(window.columns)))
    frame = score_frame([(LOGS, window) for window in windows], pack(windows), scores_of(windows))
    expected = [
        (window.entity, window.first_offset, offset)
        for window in windows
        for offset in [*window.columns["offset"][window.num_scored :].tolist(), *[None] * has_end(window)]
    ]
    assert frame.select(KEY).rows() == expected


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    return as_records([line.encode() for line in demo_frame((9, 10))["line"].head(1200)])


def scored(records: pl.DataFrame, size: int) -> pl.DataFrame:
    engine: Engine = demo_engine(CONFIG, keep_scores=True)
    engine.assign(LOGS, None, 0)
    starts = range(0, len(records), size)
    return pl.concat(
        frame for start in starts for frame in engine.process([batch(records.slice(start, size))]).score_frames
    )


@pytest.mark.parametrize("size", [100, 1200])
def test_every_decoded_event_is_scored_once_whatever_the_batches(records, size):
    frame = scored(records, size).filter(pl.col("offset").is_not_null())
    assert sorted(frame["offset"]) == list(range(1200))
    whole = demo_frame((9, 10)).head(1200).with_row_index("offset")
    times = frame.sort("offset").select("event_time_ms", "entity")
    assert times.equals(whole.select("event_time_ms", "entity"))


def test_a_windows_score_never_falls(records):
    frame = scored(records, 300)
    steps = frame.group_by("entity", "first_offset", maintain_order=True).agg(pl.col("window_score").diff().min())
    assert (steps["window_score"].fill_null(0) >= 0).all()
    assert frame["evidence"].max() < 2 ** len(Evidence.names)
