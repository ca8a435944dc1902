"""Messages of a window's alerts: by which rule, at which record, and how often."""

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl
import pytest

from longwatch.pipeline.alert_builder import AlertBuilder, Touched
from longwatch.pipeline.alerts import Alert, Digests, ThresholdNote
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.detector import Detector, Rule
from longwatch.pipeline.moving import MovingThresholds
from longwatch.pipeline.outputs import Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.window_state import WindowRules
from longwatch.pipeline.windows import PartitionWindows
from support.demo import LOGS, as_records, demo_config, demo_frame, demo_model

CONFIG = demo_config()
RULES = WindowRules(max_events=200, idle_gap_ms=1_200_000, overlap=32)
ZERO = Partition("another", "uuid", 0)


def at(score: float) -> ThresholdNote:
    return ThresholdNote(score, "score", score, 1.0)


NONE_MOVE = {LOGS: MovingThresholds(), ZERO: MovingThresholds()}
BOTH = Rule("default", thresholds={"event": at(2.0), "window": at(1.5)})


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """An hour with a burst, decoded and with its templates."""
    records = as_records([line.encode() for line in demo_frame((9, 10))["line"].head(1500)])
    decoded = Decoder(CONFIG.format, CONFIG.entity).decode(records).events
    return TemplateColumns(demo_model().templates).add(decoded)


def make_detector(rules: Sequence[Rule], top_events: int = 5, include_lines: bool = True) -> Detector:
    model = demo_model()
    texts = TemplateColumns(model.templates).texts
    names = model.bundle.evidence.names
    builder = AlertBuilder(Digests("b", "c", "t"), texts, names, top_events, include_lines, "test")
    return Detector(model.scorer, model.bundle.evidence, model.bundle.calibration, rules, builder)


def outputs_of(
    events: pl.DataFrame, detector: Detector, size: int = 1500, silent_below: int = 0, partition: Partition = LOGS
) -> list[list[Output]]:
    """Outputs of each call, the events in parts of `size`; at the end all windows close."""
    state = PartitionWindows(RULES)
    calls, moving = [], {partition: MovingThresholds()}
    for start in range(0, len(events), size):
        part = events.slice(start, size)
        windows = state.advance(part.select("offset", "timestamp_ms"), part).windows
        calls.append(detector.detect([Touched(partition, window, silent_below) for window in windows], moving)[0])
    rest = state.close_all(len(events))
    return [*calls, detector.detect([Touched(partition, window, silent_below) for window in rest], moving)[0]]


def alerts_of(calls: list[list[Output]]) -> list[Alert]:
    return [msgspec.json.decode(output.value, type=Alert) for outputs in calls for output in outputs]


@pytest.fixture(scope="module")
def alerts(events) -> list[Alert]:
    return alerts_of(outputs_of(events, make_detector([BOTH]), size=250))


def test_an_alert_opens_once_rises_and_closes_once_with_rising_revisions(alerts):
    lives: dict[str, list[Alert]] = {}
    for alert in alerts:
        lives.setdefault(alert.alert_id, []).append(alert)
    assert len(lives) > 10
    for messages in lives.values():
        words = [alert.lifecycle for alert in messages]
        assert words == ["open", *["update"] * (len(words) - 2), "close"]
        assert [alert.revision for alert in messages] == list(range(1, len(words) + 1))
        scores = [alert.score for alert in messages]
        assert scores == sorted(scores)
        assert scores[0] >= messages[0].threshold.value - 1e-4
    assert any("update" in [alert.lifecycle for alert in messages] for messages in lives.values())


def test_event_and_window_alerts_of_one_window_have_ids_of_their_own(alerts):
    kinds = {(alert.alert_id, alert.kind, alert.entity, alert.window.first_offset) for alert in alerts}
    assert len({key for key, *_ in kinds}) == len(kinds)
    both = [(entity, first) for _, _, entity, first in kinds]
    assert len(set(both)) < len(both)


def test_messages_come_in_the_order_of_the_records_that_caused_them(events):
    for outputs in outputs_of(events, make_detector([BOTH]), size=500):
        triggers = [output.trigger_offset for output in outputs]
        assert triggers == sorted(triggers)


def test_an_open_message_is_due_at_the_event_that_reached_the_threshold_or_at_the_windows_end(alerts):
    closes = {(alert.alert_id, alert.source.trigger_offset) for alert in alerts if alert.lifecycle == "close"}
    opened = [alert for alert in alerts if alert.lifecycle == "open"]
    at_event = [alert for alert in opened if alert.window.last_offset == alert.source.trigger_offset]
    assert len(at_event) > 10
    for alert in opened:
        assert all(top.offset is None or top.offset <= alert.source.trigger_offset for top in alert.top_events)
        assert alert in at_event or (alert.alert_id, alert.source.trigger_offset) in closes


def test_the_closing_message_says_why_the_window_closed(alerts):
    closed_by = {alert.lifecycle: set() for alert in alerts}
    for alert in alerts:
        closed_by[alert.lifecycle].add(alert.window.closed_by)
    assert closed_by["open"] == closed_by["update"] == {None}
    assert closed_by["close"] == {"max_events", "max_duration", "partition_idle"}


@pytest.mark.parametrize("silent_below", [1, 700, 1499])
def test_messages_below_the_committed_offset_are_left_out_and_no_others(events, alerts, silent_below):
    found = alerts_of(outputs_of(events, make_detector([BOTH]), size=250, silent_below=silent_below))
    kept = [alert for alert in alerts if alert.source.trigger_offset >= silent_below]
    assert [(a.alert_id, a.revision) for a in found] == [(a.alert_id, a.revision) for a in kept]
    assert 0 < len(found) < len(alerts)


def test_the_first_rule_that_matches_decides_alone(events):
    strict = Rule("vpn", entity="vpn-*", thresholds={"event": at(1000.0)})
    later = Rule("never", entity="vpn-01", thresholds={"event": at(0.0)})
    found = alerts_of(outputs_of(events, make_detector([strict, later, BOTH])))
    assert not any(alert.entity.startswith("vpn") for alert in found)
    assert {alert.rule for alert in found} == {"default"}


def test_rules_match_the_source_by_its_topic(events):
    rules = [Rule("only", source="logs", thresholds={"window": at(0.5)}), Rule("default")]
    assert {alert.rule for alert in alerts_of(outputs_of(events, make_detector(rules)))} == {"only"}
    assert alerts_of(outputs_of(events, make_detector(rules), partition=ZERO)) == []


def test_the_rule_is_part_of_an_alerts_identity(events):
    ids = [
        {
            alert.alert_id
            for alert in alerts_of(outputs_of(events, make_detector([Rule(name, thresholds=BOTH.thresholds)])))
        }
        for name in ("default", "other")
    ]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])


def test_an_alert_shows_its_highest_events_first_and_as_many_as_asked_for(events, alerts):
    for alert in alerts:
        scores = [top.score for top in alert.top_events]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) <= 5
    assert all(alert.top_events == [] for alert in alerts_of(outputs_of(events, make_detector([BOTH], top_events=0))))


def test_lines_are_shown_only_where_they_are_asked_for(events, alerts):
    lines = dict(events.select("offset", "line").iter_rows())
    tops = [top for alert in alerts for top in alert.top_events if top.offset is not None]
    assert all(top.line == lines[top.offset] for top in tops)
    bare = alerts_of(outputs_of(events, make_detector([BOTH], include_lines=False)))
    assert {top.line for alert in bare for top in alert.top_events} == {None}


def test_scores_are_kept_only_where_they_are_asked_for(events):
    state = PartitionWindows(RULES)
    windows = state.advance(events.select("offset", "timestamp_ms"), events).windows
    touched = [Touched(LOGS, window, 0) for window in windows]
    _, frames = make_detector([BOTH]).detect(touched, NONE_MOVE, keep_scores=True)
    assert sum(len(frame) for frame in frames) == len(events)
    assert make_detector([BOTH]).detect(touched, NONE_MOVE)[1] == []


def test_running_scores_do_not_depend_on_how_a_window_was_cut(events):
    found = []
    for size in (1500, 97):
        state, detector, frames = PartitionWindows(RULES), make_detector([BOTH]), []
        for start in range(0, len(events), size):
            part = events.slice(start, size)
            windows = state.advance(part.select("offset", "timestamp_ms"), part).windows
            frames += detector.detect([Touched(LOGS, window, 0) for window in windows], NONE_MOVE, keep_scores=True)[1]
        found.append(pl.concat(frames).filter(pl.col("offset").is_not_null()).sort("offset"))
    assert found[0]["offset"].equals(found[1]["offset"])
    for name in ("surprise", "event_score", "window_score"):
        assert np.abs(found[0][name].to_numpy() - found[1][name].to_numpy()).max() < 1e-3
    assert found[0]["evidence"].equals(found[1]["evidence"])
