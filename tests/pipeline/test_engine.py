"""Outputs are a function of the records: not of batches, crashes or workers."""

import itertools

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.checkpoint import Position, decode_position
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.kafka_settings import KafkaSettings
from longwatch.pipeline.outputs import Kind, Output
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_engine, demo_frame

CONFIG = demo_config(BUSY)


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    """An hour with a burst, with broken lines, late lines and an odd template strewn in."""
    lines: list[bytes | None] = [line.encode() for line in demo_frame((9, 10))["line"][:1500]]
    for place, value in ((40, b"\x00\xff\xfe garbage"), (300, None), (301, b""), (700, b"no header here")):
        lines.insert(place, value)
    lines.insert(900, lines[10])
    lines.insert(1000, str(lines[1000])[2:26].encode() + b" INFO vpn-01 sshd: never seen words in this order")
    return as_records(lines)


def run(engine: Engine, records: pl.DataFrame, cuts: list[int]) -> list[Output]:
    outputs: list[Output] = []
    bounds = sorted({0, *cuts, len(records)})
    for start, stop in itertools.pairwise(bounds):
        outputs += engine.process([batch(records.slice(start, stop - start))]).outputs
    return outputs


def started(position: Position | None = None) -> tuple[Engine, int]:
    engine = demo_engine(CONFIG)
    return engine, engine.assign(LOGS, position, 0)


def essence(outputs: list[Output]) -> list[tuple[object, ...]]:
    """What must be equal: all of an alert but its scores, which float noise may move in the last digits."""
    found: list[tuple[object, ...]] = []
    for output in outputs:
        if output.kind is Kind.ALERT:
            alert = msgspec.json.decode(output.value, type=Alert)
            tops = tuple((top.offset, top.template_id, tuple(top.evidence), top.line) for top in alert.top_events[:1])
            plain = (alert.alert_id, alert.revision, alert.lifecycle, alert.window, alert.source, tops)
            found.append((output.kind, output.trigger_offset, *plain))
        else:
            found.append((output.kind, output.trigger_offset, output.key, output.value, output.headers))
    return sorted(found, key=repr)


def scores(outputs: list[Output]) -> dict[tuple[str, int], float]:
    alerts = [msgspec.json.decode(output.value, type=Alert) for output in outputs if output.kind is Kind.ALERT]
    return {(alert.alert_id, alert.revision): alert.score for alert in alerts}


@pytest.fixture(scope="module")
def whole(records) -> list[Output]:
    engine, _ = started()
    return run(engine, records, [])


def test_an_hour_gives_alerts_of_every_lifecycle_dead_letters_and_late_events(whole):
    alerts = [msgspec.json.decode(output.value, type=Alert) for output in whole if output.kind is Kind.ALERT]
    assert {alert.lifecycle for alert in alerts} == {"open", "update", "close"}
    assert {alert.kind for alert in alerts} == {"event", "window"}
    reasons = {dict(output.headers)["longwatch.reason"] for output in whole if output.kind is Kind.DEAD_LETTER}
    assert reasons == {b"header_mismatch", b"empty_record"}
    assert [output.trigger_offset for output in whole if output.kind is Kind.LATE] == [900]


@pytest.mark.parametrize("size", [1, 7, 500])
def test_outputs_do_not_depend_on_the_poll_size(records, whole, size):
    engine, _ = started()
    polled = run(engine, records, list(range(0, len(records), size)))
    assert essence(polled) == essence(whole)
    expected = scores(whole)
    assert all(abs(score - expected[key]) <= 2e-4 for key, score in scores(polled).items())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 1505), min_size=1, max_size=4), st.integers(1, 400))
def test_a_crash_anywhere_loses_nothing_and_doubles_nothing(records, whole, crashes, lag):
    """A worker dies `lag` records past its last commit; the next one goes on from that commit's metadata alone."""
    outputs: list[Output] = []
    position: Position | None = None
    committed = 0
    for crash in sorted({crash for crash in crashes if crash < len(records)}):
        engine, start = started(position)
        outputs += run(engine, records.slice(start, max(0, crash - start)), [])
        if crash > committed:
            made = engine.positions()[LOGS]
            committed = crash
            position = decode_position(LOGS, made.next_offset, made.encode_metadata())
        engine.process([batch(records.slice(crash, lag))])
    engine, start = started(position)
    outputs += run(engine, records.slice(start), [])
    assert essence(outputs) == essence(whole)


def test_partitions_do_not_touch_each_other(records, whole):
    engine, _ = started()
    other = LOGS.__class__("logs", "topic-uuid", 1)
    engine.assign(other, None, 0)
    outputs: list[Output] = []
    for start in range(0, len(records), 300):
        part = records.slice(start, 300)
        outputs += engine.process([batch(part), batch(part, other)]).outputs
    assert essence([output for output in outputs if output.partition == LOGS]) == essence(whole)
    assert len(outputs) == 2 * len(whole)


def test_dead_letters_carry_the_original_bytes_and_where_they_came_from(records, whole):
    letter = next(output for output in whole if output.kind is Kind.DEAD_LETTER)
    headers = dict(letter.headers)
    assert letter.value == records["value"][letter.trigger_offset]
    assert headers["longwatch.topic"] == b"logs"
    assert headers["longwatch.offset"] == str(letter.trigger_offset).encode()
    assert headers["longwatch.truncated"] == b"false"


def test_history_that_retention_removed_makes_alerts_partial(records):
    engine, _ = started()
    run(engine, records.head(1200), [])
    position = engine.positions()[LOGS]
    assert position.metadata.replay_from < 1100
    again = demo_engine(CONFIG)
    start = again.assign(LOGS, position, 0, readable_from=1150)
    assert start == 1150
    outputs = run(again, records.slice(start), [])
    alerts = [msgspec.json.decode(output.value, type=Alert) for output in outputs if output.kind is Kind.ALERT]
    early = {alert.partial for alert in alerts if alert.window.first_offset < 1200}
    late = {alert.partial for alert in alerts if alert.window.first_offset >= 1200}
    assert early == {True}
    assert late == {False}


def test_records_that_retention_takes_from_a_running_worker_make_alerts_partial(records):
    engine, _ = started()
    run(engine, records.head(1200), [])
    engine.cut(LOGS, 1250)
    outputs = run(engine, records.slice(1250), [])
    alerts = [msgspec.json.decode(output.value, type=Alert) for output in outputs if output.kind is Kind.ALERT]
    early = {alert.partial for alert in alerts if alert.window.first_offset < 1250}
    late = {alert.partial for alert in alerts if alert.window.first_offset >= 1250}
    assert early == {True}
    assert late == {False}


def test_an_alert_fits_into_a_request_whatever_the_lines_hold():
    """Templates of 900 kB, and control characters, which JSON writes with six bytes each."""
    engine = demo_engine(demo_config(BUSY | {"alerts.top_events": "100"}))
    engine.assign(LOGS, None, 0)
    words = [" ".join(f"{word}{number:c}" * 9 for number in range(97, 123)) for word in "pqrstuvwxyz"]
    texts = [word * 3000 for word in words[:2]] + ["\x01" * place + word for place, word in enumerate(words * 9, 1200)]
    lines: list[bytes | None] = [f"2026-11-24T08:00:00Z INFO vpn-01 sshd: {text}".encode() for text in texts]
    outputs = engine.process([batch(as_records(lines))]).outputs
    assert max(len(line or b"") for line in lines) > 900_000
    longest = max(len(output.value) for output in outputs)
    assert 300_000 < longest < KafkaSettings(("broker:1",)).max_request_bytes - 2048


def test_a_dead_letter_of_a_record_that_is_mostly_key_fits_into_a_request():
    engine, _ = started()
    frame = as_records([b"no header here" * 70_000]).with_columns(key=pl.lit(b"k" * 1_040_000))
    (letter,) = engine.process([batch(frame)]).outputs
    assert len(letter.key or b"") + len(letter.value) < 600 * 1024
    assert dict(letter.headers)["longwatch.truncated"] == b"true"


def test_records_in_chunks_give_what_they_give_in_one_piece():
    """A batch joined from several polls is a frame of chunks; late events among them once ended the worker."""
    lines = [line.encode() for line in demo_frame((9, 10))["line"][:600]]
    # Two in every second chunk: none in the first is what it took.
    for place in (place + more for place in range(75, 600, 100) for more in (0, 5)):
        lines.insert(place, lines[place - 55])
    records = as_records(lines)
    chunked, whole = started()[0], started()[0]
    found: list[Output] = []
    for start in range(0, len(lines), 100):
        parts = [as_records(lines[at : at + 50], at) for at in (start, start + 50)]
        found += chunked.process([batch(pl.concat(parts, rechunk=False))]).outputs
    assert essence(found) == essence(run(whole, records, []))
    assert {output.kind for output in found} >= {Kind.LATE, Kind.ALERT}
