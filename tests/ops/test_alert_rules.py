"""Alert rules ask for metrics that exist, fire when they should and not otherwise, and lead to a page that helps."""

import re
import shutil

import promql_parser
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from longwatch.pipeline.cli import app
from longwatch.pipeline.metrics.families import families
from support.promql import PROMETHEUS, ROOT, known_series, labels_in, promtool, rules, series_in, yaml_of

RUNBOOK = ROOT / "ops" / "runbook"
RULES = {rule["alert"]: rule for rule in rules()}
LABELS = {"job", "instance", "bundle", "config", *(label for family in families().values() for label in family.labels)}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_promql(name):
    promql_parser.parse(RULES[name]["expr"])


def test_the_expressions_of_the_unit_tests_are_promql():
    tests = yaml_of(PROMETHEUS / "alerts.test.yaml")["tests"]
    for asked in [each for test in tests for each in test.get("promql_expr_test", ())]:
        promql_parser.parse(asked["expr"])


@pytest.mark.parametrize("name", RULES)
def test_a_rule_asks_only_for_metrics_and_labels_that_exist(name):
    query = RULES[name]["expr"]
    assert series_in(query)
    assert series_in(query) <= known_series()
    assert labels_in(query) <= LABELS


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_a_severity_a_summary_and_a_page_of_its_own(name):
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page = page_of(name)
    assert f"Alert `{name}`." in page.read_text()


def page_of(name):
    slug = re.fullmatch(r"https://longwatch\.example/runbook/([a-z-]+)/", RULES[name]["annotations"]["runbook_url"])
    assert slug
    # The page's name is the alert's, so that neither can be mixed up with another.
    assert slug[1].replace("-", "") in name.lower()
    return RUNBOOK / f"{slug[1]}.md"


def test_every_page_belongs_to_a_rule():
    pages = {path.stem for path in RUNBOOK.glob("*.md")} - {"index"}
    assert {page_of(name).stem for name in RULES} == pages


@pytest.mark.parametrize("path", sorted(RUNBOOK.glob("*.md")), ids=lambda path: path.stem)
def test_a_page_names_only_verbs_options_and_metrics_that_exist(path):
    text = path.read_text()
    verbs = get_command(app).commands
    for words in re.findall(r"longwatch ([a-z]+)((?: [^\s`#]+)*)", "\n".join(re.findall(r"`+[^`]+`+", text))):
        verb, rest = words
        assert verb in verbs, f"longwatch {verb}"
        command = verbs[verb]
        for word in rest.split():
            command = getattr(command, "commands", {}).get(word, command)
            if word.startswith("--"):
                assert word in {option for param in command.params for option in param.opts}, f"{verb} {word}"
    assert series_in(text) - known_series() <= {"up"}


@pytest.mark.parametrize("path", sorted(RUNBOOK.glob("*.md")), ids=lambda path: path.stem)
def test_a_pages_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_rule_has_a_unit_test():
    text = (PROMETHEUS / "alerts.test.yaml").read_text()
    assert [name for name in RULES if name not in text] == []


def test_the_rules_are_sound():
    done = promtool("check", "rules", PROMETHEUS / "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_fire_when_they_should_and_not_otherwise():
    done = promtool("test", "rules", PROMETHEUS / "alerts.test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def asked_of(rule: str) -> dict[str, object]:
    """What the unit tests ask of one rule."""
    asked = yaml_of(PROMETHEUS / "alerts.test.yaml")
    asked["tests"] = [each for each in asked["tests"] if rule in str(each)]
    return asked


@pytest.mark.parametrize("name", RULES)
def test_the_unit_tests_miss_a_rule_that_never_fires(name, tmp_path):
    """The tests of the rules can fail: without its condition, each rule is missed by at least one of them."""
    changed = yaml_of(PROMETHEUS / "alerts.yaml")
    for group in changed["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == name:
                rule["expr"] = "vector(1) > 2"
    YAML(typ="safe").dump(asked_of(name), tmp_path / "alerts.test.yaml")
    shutil.copy(PROMETHEUS / "alerts.yaml", tmp_path)
    assert promtool("test", "rules", tmp_path / "alerts.test.yaml").returncode == 0
    YAML(typ="safe").dump(changed, tmp_path / "alerts.yaml")
    assert promtool("test", "rules", tmp_path / "alerts.test.yaml").returncode != 0
