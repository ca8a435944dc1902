"""Alert ids are stable, and alerts keep the published schema."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from longwatch.pipeline.alerts import Alert, AlertKey, alert_schema, iso_time
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.records import Partition
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_engine, demo_frame

PUBLISHED = Path(__file__).resolve().parents[2] / "pipeline" / "alert.schema.json"


def test_alert_id_is_the_same_in_every_version():
    key = AlertKey(Partition("logs", "uuid", 3), "host-1", 4711, "default/window")
    assert key.alert_id == "8b23c24dc270956d1f57570f69580053"


@pytest.mark.parametrize(
    "other",
    [
        AlertKey(Partition("logs", "uuid2", 3), "host-1", 4711, "default/window"),
        AlertKey(Partition("logs", "uuid", 4), "host-1", 4711, "default/window"),
        AlertKey(Partition("logs", "uuid", 3), "host-2", 4711, "default/window"),
        AlertKey(Partition("logs", "uuid", 3), "host-1", 4712, "default/window"),
        AlertKey(Partition("logs", "uuid", 3), "host-1", 4711, "default/event"),
    ],
)
def test_alert_id_differs_by_log_entity_window_and_rule(other):
    assert other.alert_id != AlertKey(Partition("logs", "uuid", 3), "host-1", 4711, "default/window").alert_id


def test_alert_id_does_not_depend_on_the_topics_name():
    one, two = (AlertKey(Partition(name, "uuid", 0), "e", 0, "r").alert_id for name in ("logs", "renamed"))
    assert one == two


def test_every_alert_keeps_the_published_schema():
    engine = demo_engine(demo_config(BUSY))
    engine.assign(LOGS, None, 0)
    lines = [line.encode() for line in demo_frame((9, 10))["line"]]
    outputs = engine.process([batch(as_records(lines))]).outputs
    alerts = [output.value for output in outputs if output.kind is Kind.ALERT]
    assert len(alerts) > 10
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text()))
    for alert in alerts:
        validator.validate(json.loads(alert))
        assert msgspec.json.decode(alert, type=Alert).encode() == alert


def test_the_published_schema_is_the_code_s():
    assert json.loads(PUBLISHED.read_text()) == alert_schema()


def test_times_are_rfc_3339_in_utc():
    assert iso_time(1_700_000_000_001) == "2023-11-14T22:13:20.001Z"
    assert iso_time(-1) == "1969-12-31T23:59:59.999Z"
