"""What a mark silences, from which record on, and that a replay with what was recorded gives the same outputs."""

import itertools

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.checkpoint import VERSION, WITH_MARKS, Position, decode_position
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.feedback.marks import MarkBook, Withdrawal
from longwatch.pipeline.outputs import Kind, Output
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_frame
from support.marking import alerts_of, mark_of, marked_engine, timelines, write

CONFIG = demo_config(BUSY)
HOURS, NUM = (16, 18), 2000
SAID = (Kind.ALERT, Kind.SUPPRESSED)


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    return as_records([line.encode() for line in demo_frame(HOURS)["line"][:NUM]])


def fed(engine: Engine, records: pl.DataFrame, cuts: list[int]) -> list[Output]:
    outputs: list[Output] = []
    for start, stop in itertools.pairwise(sorted({0, *cuts, len(records)})):
        outputs += engine.process([batch(records.slice(start, stop - start))]).outputs
    return outputs


def fresh(past: Past | None = None) -> Engine:
    engine = marked_engine(CONFIG, past or Past())
    engine.assign(LOGS, None, 0)
    return engine


@pytest.fixture(scope="module")
def plain(records) -> list[Alert]:
    """What is raised where nobody marks anything."""
    return alerts_of(fed(fresh(), records, []))


def essence(outputs: list[Output]) -> list[tuple[object, ...]]:
    found = []
    for output in outputs:
        if output.kind in SAID:
            alert = msgspec.json.decode(output.value, type=Alert)
            plain = (alert.alert_id, alert.revision, alert.lifecycle, alert.source.trigger_offset)
            found.append((output.kind, *plain, str(alert.suppressed_by), tuple(alert.pattern)))
    return sorted(found)


def commonest(plain: list[Alert]) -> Alert:
    """An alert whose pattern comes often, for marks that silence something."""
    opened = [alert for alert in plain if alert.lifecycle == "open"]
    times = [
        sum(set(other.pattern) <= set(alert.pattern) and other.kind == alert.kind for other in opened)
        for alert in opened
    ]
    return opened[times.index(max(times))]


def test_a_mark_silences_its_pattern_from_where_it_took_effect_and_nothing_else(records, plain):
    chosen, book = commonest(plain), MarkBook()
    engine = fresh(Past(book))
    before = fed(engine, records.head(400), [])
    effects = engine.heed(write(book, mark_of(chosen))).outputs
    after = engine.process([batch(records.slice(400))]).outputs
    assert [(output.kind, output.trigger_offset) for output in effects] == [(Kind.EFFECT, 400)]
    assert alerts_of(before, Kind.SUPPRESSED) == []
    silenced = alerts_of(after, Kind.SUPPRESSED)
    assert len(silenced) > 3
    for alert in silenced:
        assert (alert.rule, alert.kind) == (chosen.rule, chosen.kind)
        assert alert.suppressed_by == f"mark {mark_of(chosen).mark_id}"
        assert alert.lifecycle == "close" or set(alert.pattern) <= set(chosen.pattern)
        assert alert.source.trigger_offset >= 400
    raised = {(a.alert_id, a.revision) for a in alerts_of(before + after)}
    kept = {(a.alert_id, a.revision) for a in silenced}
    assert raised | kept == {(a.alert_id, a.revision) for a in plain}
    assert raised & kept == set()
    for alert in alerts_of(after):
        like_it = set(alert.pattern) <= set(chosen.pattern) and (alert.rule, alert.kind) == (chosen.rule, chosen.kind)
        assert alert.lifecycle == "close" or not like_it


def test_every_alert_that_is_raised_opens_once_and_first_and_ends_where_it_was_raised(records, plain):
    book = MarkBook()
    engine = fresh(Past(book))
    outputs = fed(engine, records.head(500), [])
    write(book, *[mark_of(alert, mark_id=f"m{at}") for at, alert in enumerate(plain) if alert.lifecycle == "open"][::2])
    outputs += engine.heed(book.changed_at).outputs
    outputs += engine.process([batch(records.slice(500))]).outputs
    by_id: dict[str, list[str]] = {}
    for alert in alerts_of(outputs):
        by_id.setdefault(alert.alert_id, []).append(alert.lifecycle)
    assert len(by_id) > 10
    for lifecycles in by_id.values():
        assert lifecycles[0] == "open"
        assert lifecycles.count("open") == 1
        assert "close" not in lifecycles[:-1]


def test_entities_outside_the_globs_are_raised_as_before(records, plain):
    chosen, book = commonest(plain), MarkBook()
    write(book, mark_of(chosen, entities=("no-such-host-*",)))
    engine = fresh(Past(book))
    engine.heed(book.changed_at)
    outputs = fed(engine, records, [])
    assert alerts_of(outputs, Kind.SUPPRESSED) == []
    assert len(alerts_of(outputs)) == len(plain)


def test_a_mark_expires_at_its_event_time(records, plain):
    chosen, book = commonest(plain), MarkBook()
    times = demo_frame(HOURS)["event_time_ms"][:NUM]
    until = int(times[NUM // 2])
    write(book, mark_of(chosen, until_ms=until))
    engine = fresh(Past(book))
    engine.heed(book.changed_at)
    outputs = fed(engine, records, [])
    last_silenced = max(
        int(times[a.window.last_offset]) for a in alerts_of(outputs, Kind.SUPPRESSED) if a.lifecycle != "close"
    )
    assert last_silenced <= until
    again = [
        a
        for a in alerts_of(outputs)
        if a.lifecycle != "close" and a.kind == chosen.kind and set(a.pattern) <= set(chosen.pattern)
    ]
    assert again
    assert all(int(times[a.window.last_offset]) > until for a in again)


def test_a_mark_that_was_taken_back_silences_nothing_more(records, plain):
    chosen, book = commonest(plain), MarkBook()
    engine = fresh(Past(book))
    engine.heed(write(book, mark_of(chosen)))
    first = engine.process([batch(records.head(700))]).outputs
    engine.heed(write(book, Withdrawal(mark_of(chosen).mark_id)))
    second = engine.process([batch(records.slice(700))]).outputs
    assert alerts_of(first, Kind.SUPPRESSED)
    assert [a for a in alerts_of(second, Kind.SUPPRESSED) if a.lifecycle != "close"] == []


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_crashes_and_marks_anywhere_give_what_a_replay_with_the_recorded_effects_gives(records, plain, data):
    """Workers die past their last commit; the next goes on from its metadata, with the log of marks alone."""
    opened = [alert for alert in plain if alert.lifecycle == "open"]
    book, outputs, position = MarkBook(), [], None
    stops = sorted(data.draw(st.sets(st.integers(1, NUM - 1), min_size=2, max_size=5)))
    for stop in stops:
        engine, start = _resumed(Past(book), position)
        if data.draw(st.booleans()):
            # Heeded before the windows are rebuilt: it is said only when they are.
            outputs += engine.heed(book.changed_at).outputs
        outputs += engine.process([batch(records.slice(start, max(0, stop - start)))]).outputs
        chosen = data.draw(st.sampled_from(opened))
        write(book, mark_of(chosen))
        outputs += engine.heed(book.changed_at).outputs
        if data.draw(st.booleans()):
            outputs += engine.close_idle(LOGS).outputs
            write(book, mark_of(data.draw(st.sampled_from(opened)), mark_id="after silence"))
            outputs += engine.heed(book.changed_at).outputs
        made = engine.positions()[LOGS]
        position = decode_position(LOGS, made.next_offset, made.encode_metadata())
        write(book, mark_of(data.draw(st.sampled_from(opened)), mark_id=f"lost {stop}"))
        engine.heed(book.changed_at)
        engine.process([batch(records.slice(stop, data.draw(st.integers(1, 300))))])
    engine, start = _resumed(Past(book), position)
    outputs += engine.process([batch(records.slice(start))]).outputs
    assert position is not None
    assert position.metadata.v == WITH_MARKS
    closed = [output for output in outputs if _closed_by_silence(output)]
    replayed = _replayed(records, Past(book, timelines(outputs)), sorted({output.trigger_offset for output in closed}))
    assert essence(replayed) == essence(outputs)


def test_a_mark_made_after_silence_does_not_reach_back_to_what_that_silence_closed(records):
    """Both belong to the offset behind the last record: the alerts of the windows' ends, and the mark made of one."""
    stop = 600
    book = MarkBook()
    engine = fresh(Past(book))
    outputs = engine.process([batch(records.head(stop))]).outputs
    closed = engine.close_idle(LOGS).outputs
    ends = [alert for alert in alerts_of(closed) if alert.lifecycle != "close"]
    assert ends
    write(book, *[mark_of(alert, mark_id=f"m{at}") for at, alert in enumerate(ends)])
    outputs += closed + engine.heed(book.changed_at).outputs + engine.process([batch(records.slice(stop))]).outputs
    replayed = _replayed(records, Past(book, timelines(outputs)), [stop])
    assert essence(replayed) == essence(outputs)


def test_a_mark_made_while_silence_is_waited_for_holds_for_what_the_silence_closes(records):
    stop, book = 600, MarkBook()
    plain = fresh()
    plain.process([batch(records.head(stop))])
    ends = [alert for alert in alerts_of(plain.close_idle(LOGS).outputs) if alert.lifecycle != "close"]
    engine = fresh(Past(book))
    outputs = engine.process([batch(records.head(stop))]).outputs
    write(book, *[mark_of(alert, mark_id=f"m{at}") for at, alert in enumerate(ends)])
    outputs += engine.heed(book.changed_at).outputs
    closed = engine.close_idle(LOGS).outputs
    assert len([alert for alert in alerts_of(closed, Kind.SUPPRESSED) if alert.lifecycle != "close"]) == len(ends) > 0
    replayed = _replayed(records.head(stop), Past(book, timelines(outputs)), [stop])
    assert essence(replayed) == essence(outputs + closed)


def committed_under_a_mark(records, plain) -> tuple[Position, MarkBook]:
    """What a worker had committed at record 700 when a mark was in force since record 400."""
    book = MarkBook()
    engine = fresh(Past(book))
    engine.process([batch(records.head(400))])
    engine.heed(write(book, mark_of(commonest(plain))))
    engine.process([batch(records.slice(400, 300))])
    made = engine.positions()[LOGS]
    return decode_position(LOGS, made.next_offset, made.encode_metadata()), book


def test_a_restart_goes_on_with_the_marks_of_its_last_commit_before_it_heeds_any(records, plain):
    position, book = committed_under_a_mark(records, plain)
    engine, start = _resumed(Past(book), position)
    outputs = engine.process([batch(records.slice(start))]).outputs
    assert [alert for alert in alerts_of(outputs, Kind.SUPPRESSED) if alert.lifecycle != "close"]


def test_where_a_mark_took_effect_is_said_only_when_the_position_can_be_committed_with_it(records, plain):
    position, book = committed_under_a_mark(records, plain)
    engine, start = _resumed(Past(book), position)
    other = next(alert for alert in plain if alert.pattern != commonest(plain).pattern)
    assert engine.heed(write(book, mark_of(other))).outputs == []
    assert start < 650
    assert engine.process([batch(records.slice(start, 650 - start))]).outputs == []
    assert LOGS not in engine.positions()
    outputs = engine.process([batch(records.slice(650, 100))]).outputs
    assert [each.trigger_offset for each in outputs if each.kind is Kind.EFFECT] == [700]
    assert engine.positions()[LOGS].metadata.steps[-1] == (2 * 700, book.changed_at)


def _resumed(past: Past, position: Position | None) -> tuple[Engine, int]:
    engine = marked_engine(CONFIG, past)
    return engine, engine.assign(LOGS, position, 0)


def _closed_by_silence(output: Output) -> bool:
    return output.kind in SAID and msgspec.json.decode(output.value, type=Alert).window.closed_by == "partition_idle"


def _replayed(records: pl.DataFrame, past: Past, silences: list[int]) -> list[Output]:
    """One engine over all records, that falls silent where the workers did."""
    engine = fresh(past)
    outputs: list[Output] = []
    for start, stop in itertools.pairwise([0, *silences, len(records)]):
        outputs += engine.process([batch(records.slice(start, stop - start))]).outputs
        if stop in silences:
            outputs += engine.close_idle(LOGS).outputs
    return outputs


def test_a_commit_without_marks_is_what_it_was_before_there_were_any(records):
    engine = fresh()
    engine.process([batch(records.head(50))])
    metadata = engine.positions()[LOGS].encode_metadata()
    assert msgspec.json.decode(metadata)["v"] == VERSION
    assert "marks" not in metadata


def test_a_commits_metadata_stays_within_what_a_broker_takes(records):
    """However many marks are made while one window is open: those beyond wait."""
    engine, book = fresh(Past(MarkBook())), MarkBook()
    for offset in range(300):
        engine.process([batch(records.slice(offset, 1))])
        engine.heed(10**15 + offset)
    position = engine.positions()[LOGS]
    assert len(position.metadata.steps) == 100
    assert len(position.encode_metadata()) < 4096
    assert book.upto == 0
