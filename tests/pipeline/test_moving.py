"""Thresholds that follow the stream are a function of the records: not of batches, crashes or workers."""

import itertools

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.model.scorer import Pace, Recalibration
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.checkpoint import Position, decode_position
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.moving import MOST_STEPS, Closing, MovingThresholds, in_order
from longwatch.pipeline.outputs import Kind, Output
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_engine, demo_frame

CONFIG = demo_config(BUSY | {"thresholds.default.window.false_alarms_per_day": "30", "thresholds.follow": "true"})
FIXED = demo_config(BUSY | {"thresholds.default.window.false_alarms_per_day": "30"})


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    """Hours with a deploy's new templates, so that windows alarm."""
    return as_records([line.encode() for line in demo_frame((8, 12))["line"].gather_every(2)[:5000]])


def run(engine: Engine, records: pl.DataFrame, cuts: list[int]) -> list[Output]:
    outputs: list[Output] = []
    for start, stop in itertools.pairwise(sorted({0, *cuts, len(records)})):
        outputs += engine.process([batch(records.slice(start, stop - start))]).outputs
    return outputs


def started(position: Position | None = None) -> tuple[Engine, int]:
    engine = demo_engine(CONFIG)
    return engine, engine.assign(LOGS, position, 0)


def alerts_of(outputs: list[Output]) -> dict[tuple[str, int], tuple[object, ...]]:
    """Identity of each window alert, and the threshold it met."""
    found = [msgspec.json.decode(output.value, type=Alert) for output in outputs if output.kind is Kind.ALERT]
    chosen = [alert for alert in found if alert.kind == "window"]
    made = {(each.alert_id, each.revision): (each.lifecycle, each.threshold.value, each.source) for each in chosen}
    assert len(made) == len(chosen)
    return made


@pytest.fixture(scope="module")
def whole(records) -> dict[tuple[str, int], tuple[object, ...]]:
    engine, _ = started()
    return alerts_of(run(engine, records, []))


def test_thresholds_move(whole):
    assert len({value for _, value, _ in whole.values()}) > 3


def test_thresholds_stay_where_nothing_asks_them_to_move(records):
    engine = demo_engine(FIXED)
    engine.assign(LOGS, None, 0)
    assert len({value for _, value, _ in alerts_of(run(engine, records, [])).values()}) == 1
    assert engine.positions()[LOGS].metadata.moved is None


@pytest.mark.parametrize("size", [13, 800])
def test_they_do_not_depend_on_the_poll_size(records, whole, size):
    engine, _ = started()
    assert alerts_of(run(engine, records, list(range(0, len(records), size)))) == whole


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 4999), min_size=1, max_size=3), st.integers(1, 800))
def test_a_crash_anywhere_leaves_them_as_they_were(records, whole, crashes, lag):
    """A worker dies `lag` records past its last commit; the next one goes on from that commit's metadata alone."""
    outputs: list[Output] = []
    position: Position | None = None
    committed = 0
    for crash in sorted(set(crashes)):
        engine, start = started(position)
        outputs += run(engine, records.slice(start, max(0, crash - start)), [])
        if crash > committed:
            made, committed = engine.positions()[LOGS], crash
            position = decode_position(LOGS, made.next_offset, made.encode_metadata())
        engine.process([batch(records.slice(crash, lag))])
    engine, start = started(position)
    outputs += run(engine, records.slice(start), [])
    assert alerts_of(outputs) == whole


def test_what_a_record_closes_comes_before_what_it_opens():
    assert in_order([(0, 5), (5, None), (5, 5), (2, 5)]) == [
        (0, False),
        (3, False),
        (0, True),
        (3, True),
        (1, False),
        (2, False),
        (2, True),
    ]


def test_a_window_finds_what_was_in_force_when_it_began():
    moving, pace = MovingThresholds(), Pace(0.5)
    before = [moving.level_at("new", offset) for offset in (9, 10)]
    for offset in (10, 20, 30):
        moving.closed(Closing(offset, "other", None, pace))
    again = MovingThresholds.from_saved(moving.saved(15))
    assert [moving.level_at("new", offset) for offset in (20, 30, 99)] == [
        again.level_at("new", o) for o in (20, 30, 99)
    ]
    assert before == [0, 0]
    assert again.level_at("new", 15) == moving.level_at("new", 15) < 0 != again.level_at("new", 30)


def test_the_fullest_state_fits_into_a_commit():
    own = {f"{number:012x}": 1 << 18 for number in range(48)}
    steps = [(10**12 + number, -16) for number in range(MOST_STEPS * 2)]
    moving = MovingThresholds(Recalibration(-(1 << 22), -16, 10**9, own), steps)
    engine, _ = started()
    metadata = engine.positions()[LOGS].metadata
    full = Position(10**12, msgspec.structs.replace(metadata, replay_from=10**12, moved=moving.saved(10**12)))
    assert len(full.encode_metadata()) < 4000
