"""Windows are a pure function of a partition's records."""

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.window_state import NEVER_MS, Window, WindowRules
from longwatch.pipeline.windows import PartitionWindows, _cell_end

SECOND = 1000


def events_frame(rows: Sequence[tuple[int, int, str, int]]) -> pl.DataFrame:
    """Decoded events from (offset, event_time_ms, entity, template id) rows."""
    offsets, times, entities, templates = ([row[i] for row in rows] for i in range(4))
    return pl.DataFrame(
        {
            "offset": pl.Series(offsets, dtype=pl.Int64),
            "event_time_ms": pl.Series(times, dtype=pl.Int64),
            "entity": pl.Series(entities, dtype=pl.String),
            "line": pl.Series([f"line {offset}" for offset in offsets], dtype=pl.String),
            "template_id": pl.Series(templates, dtype=pl.UInt64),
            "template": pl.Series([f"template {template}" for template in templates], dtype=pl.String),
            "parameter_chars": pl.Series([offset % 7 for offset in offsets], dtype=pl.Int32),
            "is_new": pl.Series([template == 9 for template in templates], dtype=pl.Boolean),
        }
    )


def records_frame(events: pl.DataFrame, timestamps: Sequence[int] | None = None) -> pl.DataFrame:
    stamps = pl.Series(timestamps if timestamps is not None else [0] * len(events), dtype=pl.Int64)
    return events.select("offset").with_columns(stamps.alias("timestamp_ms"))


def describe(window: Window) -> tuple[object, ...]:
    columns = [tuple(window.columns[name].tolist()) for name in ("offset", "template_id", "gap_ms", "parameter_chars")]
    lines = tuple(window.columns.line(row) for row in range(len(window.columns)))
    return (window.entity, window.first_offset, window.context, *columns, lines, window.close)


def run(rules: WindowRules, events: pl.DataFrame, cuts: Sequence[int], timestamps: Sequence[int] | None = None):
    """Every closed window, every late offset and the final state, feeding the events cut at `cuts`."""
    state = PartitionWindows(rules)
    records = records_frame(events, timestamps)
    closed, late = [], []
    bounds = [0, *sorted(cuts), len(events)]
    for start, stop in itertools.pairwise(bounds):
        advance = state.advance(records.slice(start, stop - start), events.slice(start, stop - start))
        closed += [window for window in advance.windows if window.close]
        late += advance.late["offset"].to_list()
    return closed, late, state


def open_windows(state: PartitionWindows) -> list[tuple[object, ...]]:
    return sorted(describe(window) for window in state.close_all(10**9))


STREAMS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(-6, 6), st.sampled_from("abc"), st.sampled_from([1, 2, 9])),
    min_size=1,
    max_size=60,
)
RULES = st.builds(
    WindowRules,
    max_events=st.sampled_from([1, 2, 3, 7, 100]),
    idle_gap_ms=st.sampled_from([5, 20, 1000]),
    max_duration_ms=st.sampled_from([15, 40, 10_000]),
    overlap=st.sampled_from([0, 1, 2, 5]),
    allowed_lateness_ms=st.sampled_from([0, 4, 10]),
    idle_timeout_ms=st.sampled_from([None, 50]),
)


def stream(steps: Sequence[tuple[int, int, str, int]]) -> tuple[pl.DataFrame, list[int]]:
    """Events whose time drifts forward with disorder, and arrival stamps with disorder and occasional silence."""
    clock, rows, stamps, stamp = 0, [], [], 1000
    for offset, (advance, jitter, entity, template) in enumerate(steps):
        clock += advance
        stamp += 60 if advance == 12 else 1
        rows.append((offset * 2, clock + jitter, entity, template))
        stamps.append(stamp + 10 * jitter)
    return events_frame(rows), stamps


@settings(max_examples=300, deadline=None)
@given(RULES, STREAMS, st.lists(st.integers(0, 60), max_size=8))
def test_windows_do_not_depend_on_how_records_are_batched(rules, steps, cuts):
    events, stamps = stream(steps)
    cuts = [cut for cut in cuts if cut <= len(events)]
    closed, late, state = run(rules, events, [], stamps)
    closed_cut, late_cut, state_cut = run(rules, events, cuts, stamps)
    assert sorted(map(describe, closed)) == sorted(map(describe, closed_cut))
    assert late == late_cut
    assert state.replay_point(999) == state_cut.replay_point(999)
    assert open_windows(state) == open_windows(state_cut)


@settings(max_examples=300, deadline=None)
@given(RULES, STREAMS, st.integers(0, 60))
def test_reading_again_from_replay_point_rebuilds_open_windows_and_all_that_follows(rules, steps, crash):
    events, stamps = stream(steps)
    crash = min(crash, len(events))
    _, _, before = run(rules, events.head(crash), [], stamps[:crash])
    committed = max(0, 2 * crash - 1)
    replay_from, partition_time_ms, last_timestamp_ms = before.replay_point(committed)
    state = PartitionWindows(rules, partition_time_ms, last_timestamp_ms)
    again = events.filter(pl.col("offset") >= replay_from, pl.col("offset") < committed)
    state.advance(records_frame(again, stamps[crash - len(again) : crash]), again)
    rest = events.filter(pl.col("offset") >= committed)
    advance = state.advance(records_frame(rest, stamps[crash:]), rest)
    closed, late, whole = run(rules, events, [], stamps)
    after = [describe(window) for window in closed if window.close.trigger_offset >= committed]
    assert sorted(describe(w) for w in advance.windows if w.close) == sorted(after)
    assert advance.late["offset"].to_list() == [offset for offset in late if offset >= committed]
    assert open_windows(state) == open_windows(whole)


@settings(max_examples=100, deadline=None)
@given(RULES, STREAMS)
def test_every_event_is_scored_once_or_late(rules, steps):
    events, stamps = stream(steps)
    closed, late, state = run(rules, events, [], stamps)
    own = [window.columns["offset"][window.context :].tolist() for window in [*closed, *state.close_all(10**9)]]
    assert sorted([*late, *(offset for offsets in own for offset in offsets)]) == events["offset"].to_list()


@settings(max_examples=100, deadline=None)
@given(RULES, STREAMS)
def test_watermark_never_goes_back(rules, steps):
    events, stamps = stream(steps)
    state, last = PartitionWindows(rules), NEVER_MS
    for row in range(len(events)):
        state.advance(records_frame(events.slice(row, 1), stamps[row : row + 1]), events.slice(row, 1))
        assert state.partition_time_ms >= last
        last = state.partition_time_ms


def test_max_events_closes_the_window_with_its_last_event():
    events = events_frame([(i, i * SECOND, "a", 1) for i in range(5)])
    closed, _, state = run(WindowRules(max_events=2), events, [])
    assert [(w.first_offset, w.num_events, w.close.reason, w.close.trigger_offset) for w in closed] == [
        (0, 2, "max_events", 1),
        (2, 2, "max_events", 3),
    ]
    assert state.num_open == 1


def test_overlap_repeats_the_last_events_as_context_with_their_gaps():
    events = events_frame([(i, i * i * SECOND, "a", 1) for i in range(5)])
    closed, _, state = run(WindowRules(max_events=3, overlap=2), events, [])
    (window,) = state.close_all(5)
    assert window.context == 2
    assert window.columns["offset"].tolist() == [1, 2, 3, 4]
    assert window.columns["gap_ms"].tolist() == [1 * SECOND, 3 * SECOND, 5 * SECOND, 7 * SECOND]
    assert closed[0].columns["gap_ms"][0] == -1


def test_idle_gap_closes_when_another_entity_moves_the_watermark():
    rules = WindowRules(idle_gap_ms=10 * SECOND)
    events = events_frame([(0, 0, "a", 1), (1, 10 * SECOND, "b", 1), (2, 10 * SECOND + 1, "b", 1)])
    closed, _, _ = run(rules, events, [])
    assert [(w.entity, w.close.reason, w.close.trigger_offset) for w in closed] == [("a", "idle_gap", 2)]


def test_an_event_older_than_the_watermark_is_late_and_joins_no_window():
    rules = WindowRules(allowed_lateness_ms=5)
    events = events_frame([(0, 100, "a", 1), (1, 95, "a", 1), (2, 94, "a", 1)])
    _, late, state = run(rules, events, [])
    assert late == [2]
    (window,) = state.close_all(3)
    assert window.columns["offset"].tolist() == [0, 1]


def test_a_silent_partition_closes_its_windows_at_the_record_that_ends_the_silence():
    rules = WindowRules(idle_timeout_ms=1000)
    events = events_frame([(0, 0, "a", 1), (1, 1, "b", 1), (2, 2, "a", 1)])
    closed, _, state = run(rules, events, [], [10, 1009, 2009])
    assert sorted((w.entity, w.close.reason, w.close.trigger_offset) for w in closed) == [
        ("a", "partition_idle", 2),
        ("b", "partition_idle", 2),
    ]
    assert state.num_open == 1


def test_a_record_stamped_before_its_neighbour_hides_no_silence_from_a_restarted_worker():
    """The first record holds no event, so a restart reads from the second; it is stamped long before the first."""
    rules = WindowRules(idle_timeout_ms=1000)
    events = events_frame([(0, 0, "a", 1), (1, 1, "b", 1), (2, 2, "b", 1)])
    records = records_frame(events, [9000, 100, 5000])
    before = PartitionWindows(rules)
    before.advance(records.head(1), events.head(0))
    again = PartitionWindows(rules, *before.replay_point(1)[1:])
    for state in (before, again):
        assert [w for w in state.advance(records.slice(1), events.slice(1)).windows if w.close] == []


def test_an_open_window_keeps_its_own_lines_only():
    rows = [(i, i, f"host-{i}", 1) for i in range(1000)]
    state = PartitionWindows(WindowRules())
    events = events_frame(rows).with_columns(line=pl.lit("x" * 1000))
    window = state.advance(records_frame(events), events).windows[0]
    assert window.columns._lines == ["x" * 1000]
    assert window.columns["offset"].base.nbytes < 2000
    assert window.columns.tail(1).matrix.base is None


def test_entities_do_not_all_close_at_the_same_grid_line():
    hour = 3_600_000
    rules = WindowRules(max_duration_ms=hour, idle_gap_ms=2 * hour)
    rows = [(i, (i // 50) * 60_000, f"host-{i % 50}", 1) for i in range(50 * 180)]
    closed, _, _ = run(rules, events_frame(rows), [])
    assert {w.close.reason for w in closed} == {"max_duration"}
    assert len({int(w.columns["event_time_ms"][0]) % hour for w in closed}) > 20
    assert max(int(np.ptp(w.columns["event_time_ms"])) for w in closed) < hour


@pytest.mark.parametrize("length", [65_536])
def test_a_window_of_65536_events_is_ordinary(length):
    events = events_frame([(i, i * 10, "a", 1) for i in range(length)])
    closed, _, _ = run(WindowRules(max_events=length), events, list(range(0, length, 997)))
    assert [w.num_events for w in closed] == [length]
    assert closed[0].columns.line(length - 1) == f"line {length - 1}"


def test_windows_that_only_grow_are_the_same_as_those_that_are_looked_at_row_by_row(monkeypatch):
    """The short way for an entity whose window just becomes longer against the way that all others go."""
    rules = WindowRules(40, 60 * SECOND, 150 * SECOND, overlap=2, allowed_lateness_ms=30 * SECOND)
    disorder = np.random.default_rng(3)
    # Out of order by more than the steps, so that a cell's end lies between events; a pause after every 31 of them.
    times = [(i * 3 + i // 31 * 80 - int(back)) * SECOND for i, back in enumerate(disorder.integers(0, 30, 400))]
    rows = [(i, time, f"host-{i % 3}", i % 11) for i, time in enumerate(times)]
    events, cuts = events_frame(rows), list(range(0, 400, 23))
    short = run(rules, events, cuts)
    monkeypatch.setattr(PartitionWindows, "_appends", lambda *_: False)
    long = run(rules, events, cuts)
    assert [describe(window) for window in short[0]] == [describe(window) for window in long[0]] != []
    assert open_windows(short[2]) == open_windows(long[2]) != []


def test_an_event_behind_the_cell_ends_the_window_though_an_earlier_time_follows_it():
    rules = WindowRules(max_duration_ms=150 * SECOND, allowed_lateness_ms=10 * SECOND)
    end = _cell_end("a", 0, rules.max_duration_ms)
    times = [end - 20 * SECOND, end + SECOND, end - SECOND]
    for cuts in ([1], [1, 2], []):
        closed, late, state = run(rules, events_frame([(i, at, "a", 1) for i, at in enumerate(times)]), cuts)
        assert [window.columns["offset"].tolist() for window in closed] == [[0]]
        assert (late, state.num_open) == ([], 1)
