"""Each form against its published schema, on alerts of the real detector and on alerts made to break it."""

import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import msgspec
import polars as pl
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from longwatch.pipeline.alert_formats.choice import AlertFormat, render
from longwatch.pipeline.alert_formats.words import severity
from longwatch.pipeline.alerts import Alert, TopEvent
from longwatch.pipeline.outputs import Kind
from support.alert_messages import alert
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_engine, demo_frame
from support.ecs_fields import ecs_problems

SEED = 4
COUNT = 1000
STRANGE = [
    "",
    "a" * 1500,
    "\x1b[31m\u202e",
    "\U0001f600 é",
    '"}\n{',
    "\x00\x7f\u2028",
    "x@y.example",
    "http://h/?q=%",
]


@cache
def real() -> list[Alert]:
    """Messages of the demo's worker: opened, updated and closed."""
    engine = demo_engine(demo_config(BUSY))
    engine.assign(LOGS, None, 0)
    lines: list[bytes | None] = [line.encode() for line in demo_frame((9, 13))["line"]]
    result = engine.process([batch(as_records(lines))])
    return [msgspec.json.decode(each.value, type=Alert) for each in result.outputs if each.kind is Kind.ALERT]


def made(seed: int) -> Iterator[Alert]:
    """Alerts with every field at its edges; the same for the same seed."""
    pick = random.Random(seed)
    while True:
        number, revision = pick.getrandbits(100), pick.randrange(3)
        base = alert(number, revision, pick.choice(["open", "update", "close"]), pick.choice(STRANGE), None)
        tops = [_top(pick) for _ in range(pick.choice([0, 1, 5]))]
        score = pick.choice([0.0, 4.0, 5.1, 7.5, 300.0])
        yield msgspec.structs.replace(base, score=score, top_events=tops, instance=pick.choice(["", "w-1"]))


def _top(pick: random.Random) -> TopEvent:
    offset = pick.choice([None, 0, 2**53])
    line, text = pick.choice([None, *STRANGE]), pick.choice(STRANGE)
    return TopEvent(offset, "2026-11-24T08:01:00.000Z", "f" * 16, text, 9.0, 5.5, pick.sample(["a", "b"], 1), line)


@cache
def thousand() -> list[Alert]:
    found = real()
    assert len({each.lifecycle for each in found}) == 3
    return [*found[: COUNT // 2], *(each for each, _ in zip(made(SEED), range(COUNT), strict=False))][:COUNT]


def rendered(form: AlertFormat) -> list[dict[str, Any]]:
    assert len(thousand()) == COUNT
    return [json.loads(render(each.encode(), form)) for each in thousand()]


@cache
def ocsf_schema() -> Any:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0")).get_class_schema("detection_finding")
    return jsonschema.validators.validator_for(schema)(schema, format_checker=jsonschema.FormatChecker())


def test_a_thousand_alerts_are_ocsf_detection_findings():
    for finding in rendered("ocsf"):
        problems = [f"{error.json_path}: {error.message}" for error in ocsf_schema().iter_errors(finding)]
        assert problems == [], finding
        assert (finding["class_uid"], finding["type_uid"] - 200_400) == (2004, finding["activity_id"])


def test_a_finding_without_what_ocsf_requires_is_found_to_be_wrong():
    whole = rendered("ocsf")[0]
    for path in (
        ("time",),
        ("severity_id",),
        ("finding_info", "uid"),
        ("metadata", "product"),
        ("metadata", "version"),
    ):
        broken = json.loads(json.dumps(whole))
        inner = broken if len(path) == 1 else broken[path[0]]
        del inner[path[-1]]
        assert list(ocsf_schema().iter_errors(broken)), path
    for wrong in ({"severity_id": 17}, {"time": "now"}, {"colour": "red"}, {"resources": [{"nmae": "x"}]}):
        assert list(ocsf_schema().iter_errors(whole | wrong)), wrong


def test_a_thousand_alerts_are_ecs_events():
    for event in rendered("ecs"):
        assert ecs_problems(event) == [], event
    event = rendered("ecs")[0]
    assert ecs_problems(event | {"colour": "red"})
    assert ecs_problems(event | {"event": event["event"] | {"kind": "alarm", "severity": "high"}})
    assert ecs_problems({name: value for name, value in event.items() if name != "@timestamp"})


def test_a_thousand_alerts_are_cloudevents():
    seen = set()
    for event, source in zip(rendered("cloudevents"), thousand(), strict=True):
        read = JSONFormat().read(CloudEvent, json.dumps(event))
        assert read.get_specversion() == "1.0"
        assert msgspec.convert(read.get_data(), Alert) == source
        assert event["source"].isascii()
        assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in event["subject"])
        seen.add((read.get_source(), read.get_id()))
    assert len(seen) == COUNT


@pytest.mark.parametrize("form", ["ocsf", "ecs", "cloudevents"])
def test_a_form_is_a_function_of_the_alert_alone_and_names_it(form: AlertFormat):
    one = thousand()[0]
    assert render(one.encode(), form) == render(one.encode(), form)
    assert one.alert_id.encode() in render(one.encode(), form)


def test_longwatchs_own_form_is_the_same_bytes():
    assert render(b"anything", "longwatch") == b"anything"


def test_no_form_is_much_larger_than_the_alert_itself():
    for each in thousand():
        for form in ("ocsf", "ecs", "cloudevents"):
            assert len(render(each.encode(), form)) < 1.2 * len(each.encode()) + 6000


@pytest.mark.parametrize(("above", "word"), [(0.5, "medium"), (1.5, "high"), (3.5, "critical")])
def test_severity_says_how_much_rarer_than_the_threshold_it_is(above: float, word: str):
    one = alert()
    assert severity(msgspec.structs.replace(one, score=one.threshold.value + above)) == word


def test_every_time_is_of_the_log_and_none_of_the_clock():
    """Times in every form are the log's: a replay writes the same bytes next year."""
    first = thousand()[0]
    assert json.loads(render(first.encode(), "ecs"))["@timestamp"] == first.window.end_time
    expected = pl.Series([first.window.end_time]).str.to_datetime(time_zone="UTC").dt.epoch("ms")[0]
    assert json.loads(render(first.encode(), "ocsf"))["time"] == expected
