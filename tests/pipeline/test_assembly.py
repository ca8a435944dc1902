"""From a configuration and a bundle to an engine: thresholds, windows and digests as both say."""

import dataclasses
import shutil

import msgspec
import pytest

from longwatch.model.scorer import template_id
from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import build_engine, open_model, rules_for, window_rules
from longwatch.pipeline.errors import BundleUnusableError, ConfigError
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.records import Partition
from longwatch.pipeline.window_state import WindowRules
from support.demo import BUSY, HOME, LOGS, as_records, batch, demo_config, demo_engine, demo_frame, demo_model


def test_a_bundle_that_is_not_there_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(BundleUnusableError, match="nowhere") as caught:
        open_model(demo_config({"bundle": str(tmp_path / "nowhere")}))
    assert "`longwatch train pipeline.yaml --out bundle` makes one" in caught.value.hint
    assert caught.value.exit_code == 1


def test_a_configuration_without_a_bundle_is_an_error_of_the_configuration():
    config = demo_config()
    with pytest.raises(ConfigError, match="`bundle` is missing"):
        open_model(config.model_copy(update={"bundle": None}))


def test_a_bundle_that_was_changed_is_not_opened(tmp_path):
    shutil.copytree(HOME / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "templates.json").write_text("{}")
    with pytest.raises(BundleUnusableError, match=r"templates\.json"):
        open_model(demo_config({"bundle": str(tmp_path / "bundle")}))


def test_the_windows_section_is_read_in_milliseconds():
    windows = {"max_events": "9", "idle_gap": "2m", "max_duration": "3h", "overlap": "4", "allowed_lateness": "1500ms"}
    config = demo_config({f"windows.{key}": value for key, value in windows.items()})
    assert window_rules(config.windows) == WindowRules(9, 120_000, 10_800_000, 4, 1500, None)
    assert window_rules(demo_config({"windows.idle_timeout": "5s"}).windows).idle_timeout_ms == 5000


def test_the_first_rule_that_matches_decides_and_the_default_matches_all():
    web = "{name: web, match: {entity: 'web-*'}, event: {score: 9}}"
    wide = "{name: all-web, match: {entity: 'w*'}, window: {score: 3}}"
    config = demo_config({"thresholds.rules": f"[{web}, {wide}]"})
    made = list(rules_for(config, demo_model().bundle.calibration))
    assert [rule.name for rule in made] == ["web", "all-web", "default"]
    for entity, name in (("web-01", "web"), ("wiki", "all-web"), ("db-01", "default"), ("", "default")):
        decides = next(rule for rule in made if rule.matches(LOGS, entity))
        assert decides.name == name == config.thresholds.limits_for(entity, LOGS.topic)[0]


def test_a_rule_may_be_for_one_source():
    rules = "[{name: pay, match: {source: 'pay-*'}, event: {score: 9}}]"
    made = list(rules_for(demo_config({"thresholds.rules": rules}), demo_model().bundle.calibration))
    names = [next(r for r in made if r.matches(Partition(topic, "", 0), "x")).name for topic in ("pay-eu", "logs")]
    assert names == ["pay", "default"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("false_alarms_per_day", 2.0), ("quantile", 0.99), ("score", 4.25)],
    ids=lambda item: str(item),
)
def test_thresholds_are_those_of_the_bundles_calibration_and_say_what_they_cost(setting, value):
    rules = f"[{{name: r, match: {{entity: x}}, event: {{{setting}: {value}}}, window: {{{setting}: {value}}}}}]"
    calibration = demo_model().bundle.calibration
    rule, _ = rules_for(demo_config({"thresholds.rules": rules}), calibration)
    assert set(rule.thresholds) == {"event", "window"}
    for kind, note in rule.thresholds.items():
        assert note.value == calibration.threshold(kind, **{setting: value})
        assert (note.set_by, note.setting) == (setting, value)
        assert note.expected_per_day == pytest.approx(calibration.expected_per_day(kind, note.value), abs=1e-6)


def test_a_kind_without_a_threshold_raises_no_alert():
    rules = "[{name: quiet, match: {entity: '*'}, window: {score: 0.5}}]"
    rule, _ = rules_for(demo_config({"thresholds.rules": rules}), demo_model().bundle.calibration)
    assert list(rule.thresholds) == ["window"]


def test_a_template_that_only_held_out_windows_had_is_scored_as_unseen():
    """The template set knows it, the network's vocabulary does not: its text must reach the scorer all the same."""
    model, leaf = demo_model(), "INFO sshd words that only windows held out had"
    grown = dataclasses.replace(model.templates, templates={**model.templates.templates, leaf: leaf})
    engine = build_engine(demo_config(), dataclasses.replace(model, templates=grown), keep_scores=True)
    engine.assign(LOGS, None, 0)
    line = f"2026-11-02T09:00:00.000Z INFO vpn-01 sshd: {leaf.removeprefix('INFO sshd ')}"
    (frame,) = engine.process([batch(as_records([line.encode()]))]).score_frames
    assert frame["template_id"].to_list() == [template_id(leaf)]
    assert frame["evidence"].to_list()[0] & 1


def test_every_alert_names_the_bundle_the_configuration_and_the_templates_it_was_made_with():
    config = demo_config(BUSY)
    engine = demo_engine(config)
    engine.assign(LOGS, None, 0)
    records = as_records([line.encode() for line in demo_frame((9, 10))["line"].head(600)])
    outputs = [output for output in engine.process([batch(records)]).outputs if output.kind is Kind.ALERT]
    digests = {msgspec.json.decode(output.value, type=Alert).digests for output in outputs}
    (found,) = digests
    model = demo_model()
    assert (found.bundle, found.config, found.templates) == (model.bundle.digest, config.digest, model.templates.digest)
    metadata = engine.positions()[LOGS].metadata
    assert model.bundle.digest.startswith(metadata.bundle)
    assert config.digest.startswith(metadata.config)
    assert len(metadata.bundle) == len(metadata.config) == 16
