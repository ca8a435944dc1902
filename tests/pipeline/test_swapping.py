"""Bundles swapped while records flow: each output by the bundle in force at its record, as if it had always been there.

What is due is told by two plain runs, one a bundle, that know nothing of swaps.
"""

import shutil
from typing import Any
from unittest import mock

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import Model, build_engine
from longwatch.pipeline.assigned import Assigned
from longwatch.pipeline.bundles import Bundles
from longwatch.pipeline.checkpoint import WITH_BUNDLES, WITH_CHANGES, Position, decode_position
from longwatch.pipeline.configured_settings import recorded_settings, setting_of
from longwatch.pipeline.errors import BundleUnusableError
from longwatch.pipeline.outputs import Output
from longwatch.pipeline.reading import Reading, Readings
from longwatch.pipeline.setting import MOST_CHANGES, Setting
from longwatch.pipeline.window_state import BUNDLE_SWAPPED, PARTITION_IDLE, Window
from longwatch.pipeline.windows import PartitionWindows
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_frame, demo_model
from support.marking import alerts_of
from support.second_bundle import second_model, train_second
from support.swaps import (
    LOUD,
    SOFT,
    Life,
    changes_of,
    check,
    check_lives,
    due,
    essence,
    live,
    replayed,
    said,
    swapping_engine,
    tenures,
)

NUM = 1500


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    return as_records([line.encode() for line in demo_frame((16, 18))["line"][:NUM]])


@pytest.fixture(scope="module")
def models() -> tuple[Model, Model]:
    found = demo_model(), second_model()
    assert found[0].templates.digest != found[1].templates.digest
    return found


@pytest.fixture(scope="module")
def choices(models) -> list[Setting]:
    """Two bundles, each under two configurations."""
    return [setting_of(config, model) for model in models for config in (LOUD, SOFT)]


@pytest.fixture(scope="module")
def plain(records, models) -> dict[str, list[Alert]]:
    """What each bundle says of all records, alone and from the start."""
    found = {}
    for model in models:
        engine = build_engine(LOUD, model, instance="test")
        engine.assign(LOGS, None, 0)
        found[model.bundle.digest] = alerts_of(engine.process([batch(records)]).outputs)
        assert {alert.lifecycle for alert in found[model.bundle.digest]} >= {"open", "close"}
    assert "update" in {alert.lifecycle for alert in found[models[0].bundle.digest]}
    return found


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_each_output_is_by_the_bundle_in_force_at_its_record_as_if_it_had_always_been_there(
    records, models, choices, plain, data
):
    places = data.draw(st.lists(st.integers(1, NUM - 1), max_size=4, unique=True))
    plan = {0: choices[0]} | {at: data.draw(st.sampled_from(choices[::2])) for at in places}
    check(live(records, models, plan, data.draw(st.lists(st.integers(1, NUM - 1), max_size=4))), plain)


def _close_nothing(self: PartitionWindows, trigger: int, reason: str = PARTITION_IDLE) -> list[Window]:
    return [] if reason == BUNDLE_SWAPPED else CLOSE_ALL(self, trigger, reason)


def _keep_the_windows(position: Position, *more: Any) -> Assigned:
    """Go on with empty windows instead of reading those that are open again."""
    told = msgspec.structs.replace(position.metadata, replay_from=position.next_offset)
    return RESUMED(Position(position.next_offset, told), *more)


def _under_another_name(self: Readings, bundle: str) -> Reading:
    self._made[bundle] = Reading(bundle, self.first.templates, self.first.detector)
    return self._made[bundle]


CLOSE_ALL, RESUMED = PartitionWindows.close_all, Assigned.resumed
MUTANTS = {
    "leave open what the old bundle opened": (PartitionWindows, "close_all", _close_nothing),
    "say what the new bundle would have raised before": (Touched, "since", property(lambda _: -1)),
    "go on under the old alert's id": (Touched, "swapped_at", None),
    "begin at the swap, without what is open": (Assigned, "resumed", _keep_the_windows),
    "judge by the bundle that a worker started with": (Readings, "of", _under_another_name),
    "never swap": (Assigned, "swaps", lambda *_: False),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_of_the_rule_is_caught(records, models, choices, plain, mutant):
    plan = {0: choices[0], 500: choices[2], 800: choices[0], 1200: choices[2]}

    def run() -> None:
        outputs = live(records, models, plan, [])
        check(outputs, plain)
        assert len(tenures(changes_of(outputs))) == len(plan)

    run()
    with mock.patch.object(*MUTANTS[mutant]), pytest.raises(AssertionError):
        run()


def test_an_alert_that_is_open_at_a_swap_is_closed_there_by_its_own_bundle_and_another_id_goes_on(
    records, models, choices
):
    outputs = live(records, models, {0: choices[0], 700: choices[2]}, [])
    alerts = alerts_of(outputs)
    closed = [each for each in alerts if each.window.closed_by == BUNDLE_SWAPPED]
    assert closed
    assert {each.source.trigger_offset for each in closed} == {700}
    assert {each.digests.bundle for each in closed} == {choices[0].bundle}
    taken_over = [each for each in alerts if each.swapped_at is not msgspec.UNSET]
    assert taken_over
    assert all(each.window.first_offset < 700 <= each.source.trigger_offset for each in taken_over)
    assert {each.alert_id for each in taken_over}.isdisjoint(each.alert_id for each in closed)
    assert {each.swapped_at for each in taken_over} == {700}


def test_the_change_records_the_bundle_and_its_position_travels_with_the_commit(records, models, choices):
    life = Life(records.head(900), models, choices[0])
    life.step(600)
    life.wanted = choices[2]
    life.step(0)
    life.finish()
    assert [(each.offset, each.bundle) for each in changes_of(life.kept)] == [
        (0, choices[0].bundle),
        (600, choices[2].bundle),
    ]
    assert life.position is not None
    assert (life.position.metadata.v, life.position.metadata.bundle) == (WITH_BUNDLES, choices[2].bundle[:16])


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_replay_by_what_was_recorded_gives_the_same_bytes_whatever_the_batches(records, models, choices, data):
    places = data.draw(st.lists(st.integers(1, NUM - 1), max_size=4, unique=True))
    plan = {0: choices[0]} | {at: data.draw(st.sampled_from(choices)) for at in places}
    outputs = live(records, models, plan, [])
    own = data.draw(st.sampled_from(models))
    cuts = data.draw(st.lists(st.integers(1, NUM - 1), max_size=6))
    assert essence(replayed(records, models, own, changes_of(outputs), cuts)) == essence(outputs)


def test_a_replay_swaps_at_the_recorded_offset_also_where_no_record_stands_before_it(records, models, choices):
    changes = changes_of(live(records, models, {0: choices[0], 700: choices[2]}, []))
    engine = swapping_engine(models, models[0], LOUD, changes)
    engine.assign(LOGS, None, 0)
    engine.process([batch(records.filter(pl.col("offset") != 699).head(900))])
    assert (engine.next_offsets, engine.swaps) == ({LOGS: 700}, [LOGS])


def test_a_replay_that_begins_behind_a_swap_reads_nothing_before_it(records, models, choices):
    plan = {0: choices[0], 400: choices[2], 700: choices[0], 1200: choices[2]}
    changes = changes_of(live(records, models, plan, []))
    engine = swapping_engine(models, models[1], LOUD, changes)
    assert engine.assign(LOGS, None, 900) == 900
    assert engine.swaps == []
    outputs = engine.process([batch(records.slice(900))]).outputs
    assert {alert.digests.bundle for alert in alerts_of(outputs)} == {choices[0].bundle}
    assert engine.next_offsets == {LOGS: 1200}
    assert engine.swaps == [LOGS]
    assert engine.swap(LOGS) >= 900


def events(settings_: list[Setting]) -> st.SearchStrategy[Any]:
    return st.lists(
        st.one_of(
            st.tuples(st.just("step"), st.integers(20, 400)),
            st.tuples(st.just("commit"), st.none()),
            st.tuples(st.just("want"), st.sampled_from(settings_)),
            st.tuples(st.just("crash"), st.sampled_from(settings_)),
        ),
        max_size=25,
    )


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_crashes_each_alert_is_there_once_by_the_bundle_committed_for_its_offset(
    records, models, choices, plain, data
):
    life = Life(records, models, choices[0])
    for name, value in data.draw(events(choices)):
        if name == "want":
            life.wanted = value
        else:
            {"step": life.step, "crash": life.start}.get(name, lambda _: life.commit())(value)
    life.finish()
    alerts, changes = alerts_of(life.kept), changes_of(life.kept)
    assert len({(each.alert_id, each.revision) for each in alerts}) == len(alerts)
    check_lives(alerts, changes)
    assert essence(replayed(records, models, models[0], changes, [])) == essence(life.kept)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_with_one_configuration_crashes_leave_what_the_plain_runs_say(records, models, choices, plain, data):
    life = Life(records, models, choices[0])
    for name, value in data.draw(events(choices[::2])):
        if name == "want":
            life.wanted = value
        else:
            {"step": life.step, "crash": life.start}.get(name, lambda _: life.commit())(value)
    life.finish()
    alerts = [each for each in alerts_of(life.kept) if each.lifecycle != "close"]
    assert sorted(map(said, alerts)) == due(plain, changes_of(life.kept))


def test_what_silence_closed_before_a_swap_was_closed_by_the_bundle_of_then(records, models, choices):
    timeout = {"windows.idle_timeout": "1m"}
    own, config = models[0], demo_config(BUSY | timeout)
    late = records.with_columns(
        pl.when(pl.col("offset") >= 700).then(pl.col("timestamp_ms") + 120_000).otherwise(pl.col("timestamp_ms"))
    )
    bundles = Bundles(config, own)
    bundles.add(models[1])
    engine = build_engine(config, own, instance="test", settings=recorded_settings(config, own, [], bundles))
    engine.assign(LOGS, None, 0)
    outputs = engine.adopt(setting_of(config, own)).outputs
    outputs += engine.process([batch(late.head(700))]).outputs
    closed = engine.close_idle(LOGS).outputs
    outputs += [*closed, *engine.adopt(setting_of(config, models[1])).outputs]
    assert engine.swaps == [LOGS]
    assert engine.swap(LOGS) == 700
    outputs += engine.process([batch(late.slice(700))]).outputs
    assert {each.digests.bundle for each in alerts_of(closed)} == {own.bundle.digest}
    assert [(each.offset, each.after_silence) for each in changes_of(outputs)] == [(0, False), (700, True)]
    known = recorded_settings(config, own, changes_of(outputs), bundles)
    again = build_engine(config, own, instance="test", settings=known)
    at, repeated = again.assign(LOGS, None, 0), list[Output]()
    while at < len(late):
        repeated += again.process([batch(late.slice(at, 300))]).outputs
        at += 300
        if again.swaps:
            at = again.swap(LOGS)
    repeated += again.process([]).outputs
    assert essence(repeated) == essence(outputs)


def test_a_commit_under_a_bundle_that_is_nowhere_is_refused_with_what_to_do(records, models, choices, tmp_path):
    life = Life(records.head(900), models, choices[2])
    life.finish()
    config = LOUD.model_copy(update={"bundle": tmp_path / "first"})
    alone = recorded_settings(config, models[0], changes_of(life.kept))
    with pytest.raises(BundleUnusableError, match=f"bundle {choices[2].bundle[:16]} judged records") as refused:
        build_engine(config, models[0], settings=alone).assign(LOGS, life.position, 0)
    assert str(tmp_path) in refused.value.message
    assert "reload.bundles" in refused.value.hint


def test_a_bundle_is_found_by_its_digest_among_those_that_are_kept(models, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(models[0].bundle.path, tmp_path / name)
    train_second(tmp_path / "c")
    (tmp_path / "a" / "manifest.json").write_text("half a manif")
    config = LOUD.model_copy(update={"bundle": tmp_path / "c"})
    found = Bundles(config, models[0]).model(models[1].bundle.digest[:16])
    assert found.bundle.path == tmp_path / "c"
    assert Bundles(config, models[1]).model(models[0].bundle.digest[:16]).bundle.path == tmp_path / "b"


def test_a_commit_of_before_bundles_could_change_is_gone_on_from_under_its_own_bundle(records, models, choices):
    life = Life(records, models, choices[0])
    life.step(900)
    life.commit()
    position = life.position
    assert position is not None
    old = [(at, number, name[:16]) for at, number, name in position.metadata.changes]
    told = msgspec.structs.replace(position.metadata, v=WITH_CHANGES, settings=tuple(old))
    life.position = decode_position(LOGS, position.next_offset, msgspec.json.encode(told).decode())
    life.start(choices[2])
    assert life.engine.positions() == {}
    outputs = life.finish()
    assert [each.bundle for each in changes_of(outputs)] == [choices[0].bundle, choices[2].bundle]
    assert changes_of(outputs)[1].offset >= 900
    assert essence(replayed(records, models, models[1], changes_of(outputs), [])) == essence(outputs)


def test_a_commits_metadata_stays_within_what_a_broker_takes_however_often_bundles_change(records, models, choices):
    life = Life(records.head(1200), models, choices[0])
    for at in range(MOST_CHANGES + 4):
        life.wanted = choices[2 * (at % 2)]
        life.step(10)
        while life.engine.rebuilding:
            life.step(200)
    life.commit()
    assert life.position is not None
    assert len(life.position.metadata.changes) == MOST_CHANGES
    assert len(life.position.encode_metadata()) < 2048
