"""Thresholds changed while records flow: what decides at which record, across restarts, and in a replay."""

import itertools

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import build_engine
from longwatch.pipeline.checkpoint import WITH_BUNDLES, Position, decode_position
from longwatch.pipeline.config import Config
from longwatch.pipeline.configured_settings import recorded_settings, setting_of
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.setting import MOST_CHANGES, Change
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_frame, demo_model
from support.marking import alerts_of

NUM = 2000
RULE = "{name: web, match: {entity: 'web-*'}, window: {false_alarms_per_day: 300}}"
QUIET = {"thresholds.default.event.false_alarms_per_day": "20", "thresholds.default.window.false_alarms_per_day": "20"}
LOUD, SOFT, RULED = (demo_config(BUSY | more) for more in ({}, QUIET, {"thresholds.rules": f"[{RULE}]"}))
CONFIGS = (LOUD, SOFT, RULED)


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    return as_records([line.encode() for line in demo_frame((16, 18))["line"][:NUM]])


def engine_of(config: Config, changes: list[Change] | None = None) -> Engine:
    known = recorded_settings(config, demo_model(), changes or [])
    return build_engine(config, demo_model(), instance="test", settings=known)


def fresh(config: Config = LOUD, changes: list[Change] | None = None) -> Engine:
    engine = engine_of(config, changes)
    engine.assign(LOGS, None, 0)
    return engine


def fed(engine: Engine, records: pl.DataFrame, cuts: list[int], adopts: dict[int, Config]) -> list[Output]:
    """Records in batches; at some of the cuts another configuration is adopted."""
    outputs: list[Output] = []
    for start, stop in itertools.pairwise(sorted({0, *cuts, *adopts, len(records)})):
        if start in adopts:
            outputs += engine.adopt(setting_of(adopts[start], demo_model())).outputs
        outputs += engine.process([batch(records.slice(start, stop - start))]).outputs
    return outputs


def changes_of(outputs: list[Output]) -> list[Change]:
    return [msgspec.json.decode(each.value, type=Change) for each in outputs if each.kind is Kind.CHANGE]


def essence(outputs: list[Output]) -> list[bytes]:
    return sorted(each.value for each in outputs if each.kind is Kind.ALERT)


def in_force(changes: list[Change], alert: Alert) -> str:
    """By the records alone, without the code that decides."""
    before = [each for each in changes if each.offset <= alert.source.trigger_offset]
    return max(before, key=lambda each: each.number).config


PLAN = {0: LOUD, 500: SOFT, 1100: RULED, 1500: LOUD}


def test_every_alert_carries_the_digest_that_was_recorded_for_its_offset(records):
    outputs = fed(fresh(), records, [], PLAN)
    changes, alerts = changes_of(outputs), alerts_of(outputs)
    assert [(each.offset, each.config) for each in changes] == [(at, config.digest) for at, config in PLAN.items()]
    assert [alert.digests.config for alert in alerts] == [in_force(changes, alert) for alert in alerts]
    assert {alert.digests.config for alert in alerts} == {config.digest for config in CONFIGS}


def test_a_stricter_threshold_holds_for_windows_that_are_open_from_the_change_on(records):
    outputs = fed(fresh(), records, [], {0: LOUD, 500: SOFT})
    (limit,) = {setting_of(SOFT, demo_model()).rules[-1].thresholds["event"].value}
    after = [each for each in alerts_of(outputs) if each.source.trigger_offset >= 500 and each.kind == "event"]
    begun_before = [each for each in after if each.window.first_offset < 500 and each.lifecycle != "close"]
    assert all(each.threshold.value == limit for each in after if each.lifecycle != "close")
    assert begun_before or len(after) < len(alerts_of(fed(fresh(), records, [], {0: LOUD})))


def test_an_alert_that_another_rule_opened_is_closed_under_its_own_name(records):
    outputs = fed(fresh(), records, [], {0: LOUD, 700: RULED})
    last = {alert.alert_id: alert for alert in alerts_of(outputs)}
    closed_windows = {(each.entity, each.window.first_offset) for each in last.values() if each.lifecycle == "close"}
    left = [each for each in last.values() if (each.entity, each.window.first_offset) in closed_windows]
    assert {each.lifecycle for each in left} == {"close"}
    assert {each.rule for each in last.values()} == {"default", "web"}


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_replay_with_what_was_recorded_gives_the_same_alerts_whatever_the_batches(records, data):
    places = data.draw(st.lists(st.integers(1, NUM - 1), max_size=5, unique=True))
    plan = {0: LOUD} | {at: data.draw(st.sampled_from(CONFIGS)) for at in places}
    live = fed(fresh(), records, [], plan)
    cuts = data.draw(st.lists(st.integers(1, NUM - 1), max_size=6))
    again = fed(fresh(data.draw(st.sampled_from(CONFIGS)), changes_of(live)), records, cuts, {})
    assert essence(again) == essence(live)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_restart_rebuilds_what_was_in_force_from_the_commit_alone(records, data):
    at, died = sorted(data.draw(st.lists(st.integers(1, NUM - 1), min_size=2, max_size=2, unique=True)))
    whole = fed(fresh(), records, [], {0: LOUD, at: SOFT})
    first = fresh()
    outputs = fed(first, records.head(died), [], {0: LOUD, at: SOFT})
    position = first.positions()[LOGS]
    assert (position.metadata.v, position.metadata.config) == (WITH_BUNDLES, SOFT.digest[:16])
    second = engine_of(SOFT)
    assert second.settings is not None
    second.settings.learn(changes_of(outputs))
    found = decode_position(LOGS, position.next_offset, position.encode_metadata())
    replay_from = second.assign(LOGS, found, 0)
    outputs += second.process([batch(records.slice(replay_from))]).outputs
    outputs += second.adopt(setting_of(SOFT, demo_model())).outputs
    assert essence(outputs) == essence(whole)


def test_a_file_changed_while_no_worker_ran_holds_from_the_committed_offset_on(records):
    first = fresh()
    outputs = fed(first, records.head(900), [], {0: LOUD})
    position = first.positions()[LOGS]
    second = engine_of(SOFT)
    assert second.settings is not None
    second.settings.learn(changes_of(outputs))
    replay_from = second.assign(LOGS, position, 0)
    assert replay_from < 900
    early = second.adopt(setting_of(SOFT, demo_model())).outputs
    assert early == [], "an effect without its position would be one that no replay may believe"
    outputs += second.process([batch(records.slice(replay_from))]).outputs
    assert [(each.offset, each.config) for each in changes_of(outputs)] == [(0, LOUD.digest), (900, SOFT.digest)]
    assert essence(outputs) == essence(fed(fresh(), records, [], {0: LOUD, 900: SOFT}))


def test_a_commit_under_a_configuration_that_nobody_recorded_is_refused(records):
    first = fresh()
    fed(first, records.head(900), [], {0: LOUD})
    with pytest.raises(StateError, match="committed under configuration"):
        engine_of(SOFT).assign(LOGS, first.positions()[LOGS], 0)


def test_a_change_waits_where_a_commit_has_no_room_for_it(records):
    engine = fresh()
    plan = {10 * at: CONFIGS[at % 2] for at in range(MOST_CHANGES + 4)}
    outputs = fed(engine, records.head(400), [], plan)
    assert len(changes_of(outputs)) == MOST_CHANGES
    assert len(engine.positions()[LOGS].encode_metadata()) < 4096


def test_what_silence_closed_before_a_change_keeps_what_was_in_force(records):
    """Both happen at the offset behind the last record: the change says on which side of the close it lies."""
    timeout = {"windows.idle_timeout": "1m"}
    before, after = demo_config(BUSY | timeout), demo_config(BUSY | QUIET | timeout)
    late = records.with_columns(
        pl.when(pl.col("offset") >= 700).then(pl.col("timestamp_ms") + 120_000).otherwise(pl.col("timestamp_ms"))
    )
    engine = fresh(before)
    outputs = fed(engine, late.head(700), [], {0: before})
    closed = engine.close_idle(LOGS).outputs
    outputs += [*closed, *engine.adopt(setting_of(after, demo_model())).outputs]
    outputs += engine.process([batch(late.slice(700))]).outputs
    assert {alert.digests.config for alert in alerts_of(closed)} == {before.digest}
    assert [(each.offset, each.after_silence) for each in changes_of(outputs)] == [(0, False), (700, True)]
    assert essence(fed(fresh(after, changes_of(outputs)), late, [300], {})) == essence(outputs)


class Crashing:
    """A worker's life as its store sees it: only what is committed lasts, and each life may have another file."""

    def __init__(self, records: pl.DataFrame) -> None:
        self.records, self.kept = records, list[Output]()
        self.position: Position | None = None
        self.start(LOUD)

    def start(self, config: Config) -> None:
        self.engine, self.config, self.pending = engine_of(config), config, list[Output]()
        assert self.engine.settings is not None
        self.engine.settings.learn(changes_of(self.kept))
        self.at = self.engine.assign(LOGS, self.position, 0)

    def step(self, size: int) -> None:
        """One round of the loop."""
        self.pending += self.engine.adopt(setting_of(self.config, demo_model())).outputs
        if self.at < len(self.records):
            self.pending += self.engine.process([batch(self.records.slice(self.at, size))]).outputs
            self.at = min(self.at + size, len(self.records))

    def commit(self) -> None:
        if found := self.engine.positions():
            self.kept += self.pending
            self.position = decode_position(LOGS, found[LOGS].next_offset, found[LOGS].encode_metadata())
            self.pending = []


EVENTS = st.one_of(
    st.tuples(st.just("step"), st.integers(50, 400)),
    st.tuples(st.just("commit"), st.none()),
    st.tuples(st.just("reload"), st.sampled_from(CONFIGS)),
    st.tuples(st.just("crash"), st.sampled_from(CONFIGS)),
)


@settings(max_examples=15, deadline=None)
@given(events=st.lists(EVENTS, max_size=25))
def test_whatever_crashes_each_alert_is_there_once_under_the_digest_committed_for_its_offset(records, events):
    worker = Crashing(records)
    for name, value in events:
        if name == "reload":
            worker.config = value
        else:
            {"step": worker.step, "crash": worker.start}.get(name, lambda _: worker.commit())(value)
    while worker.at < len(records):
        worker.step(500)
    worker.commit()
    changes, alerts = changes_of(worker.kept), alerts_of(worker.kept)
    assert len({(each.alert_id, each.revision) for each in alerts}) == len(alerts)
    assert [alert.digests.config for alert in alerts] == [in_force(changes, alert) for alert in alerts]
    assert essence(fed(fresh(LOUD, changes), records, [], {})) == essence(worker.kept)
