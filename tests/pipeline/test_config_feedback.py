"""The `feedback` and `web` sections: defaults, errors at their place, and what belongs to the digest."""

from pathlib import Path

import pytest

from longwatch.pipeline.config import Config, config_from
from longwatch.pipeline.errors import ConfigFileError, LongwatchError
from longwatch.pipeline.yaml_document import parse_yaml

BASE = """\
pipeline: app
source:
  kafka: {bootstrap_servers: ["127.0.0.1:9092"], topic: logs}
format:
  json: {timestamp: {field: time, format: iso8601, timezone: UTC}}
entity: {field: host}
sink:
  kafka: {}
"""


def loaded(more: str = "") -> Config:
    return config_from(parse_yaml(BASE + more, "app.yaml"), Path("/conf"))


def error_of(more: str) -> str:
    with pytest.raises((ConfigFileError, LongwatchError)) as caught:
        loaded(more)
    return str(caught.value)


def test_sections_of_nothing_have_defaults():
    config = loaded("feedback: {}\nweb: {}\n")
    assert config.feedback is not None
    assert config.web is not None
    assert (config.feedback.topic, config.feedback.suppressed) == ("longwatch.marks", "longwatch.suppressed")
    assert config.feedback.file == Path("/conf/longwatch.marks.jsonl")
    assert (config.web.host, config.web.port, config.web.is_local) == ("127.0.0.1", 8420, True)


def test_only_rules_change_what_alerts_are_made_with():
    plain = loaded().digest
    assert loaded("web: {port: 1}\n").digest == plain
    assert loaded("feedback: {topic: other}\n").digest == plain
    ruled = loaded("feedback: {rules: [{name: a, templates: ['x*']}]}\n").digest
    assert ruled != plain
    assert loaded("feedback: {rules: [{name: a, templates: ['y*']}]}\n").digest != ruled


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("feedback:\n  topic: logs\n", "app.yaml:10:10: feedback.topic: topic `logs` is also source.kafka.topic"),
        ("feedback:\n  effects: longwatch.late\n", "is also sink.kafka.late"),
        ("feedback:\n  rules: [{name: a, templates: []}]\n", "feedback.rules.0.templates"),
        ("feedback:\n  rules: [{name: a, templates: [x], until: soon}]\n", "`soon` is no time"),
        (
            "feedback:\n  rules: [{name: a, templates: [x], since: '2026-02-01', until: '2026-01-01'}]\n",
            "since 2026-02-01 is not before until 2026-01-01",
        ),
        (
            "feedback:\n  rules: [{name: a, templates: [x]}, {name: a, templates: [y]}]\n",
            "rule `a` is here twice",
        ),
        ("web:\n  host: 0.0.0.0\n", "app.yaml:10:9: web.host: `0.0.0.0` is reached from other machines"),
        ("web:\n  token_env: A\n  token_file: b\n", "are both set"),
        ("web:\n  token: secret\n", "token"),
    ],
)
def test_an_error_names_its_place_and_cause(more, said):
    assert said in error_of(more)


def test_a_token_written_out_is_refused_without_showing_it():
    assert "hunter2" not in error_of("web:\n  token: hunter2\n")
