"""The documentation builds strictly, its reference holds what the program has, and its commands are ones that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from longwatch.pipeline.cli import app
from longwatch.pipeline.config import Config
from longwatch.pipeline.metrics.families import families
from support.demo import demo_frame
from support.promql import ROOT, rules

BIN = Path(sys.executable).parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    words = [BIN / "mkdocs", "build", "--strict", "--quiet", "--config-file", ROOT / "mkdocs.yml", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def page(site: Path, name: str) -> str:
    return (site / name / "index.html").read_text()


def test_the_reference_has_every_verb_key_metric_and_alert(site):
    cli, keys = page(site, "reference/cli"), page(site, "reference/yaml")
    assert [verb for verb in get_command(app).commands if f"longwatch {verb}" not in cli] == []
    models = [name for name, model in Config.model_json_schema()["$defs"].items() if "properties" in model]
    assert [name for name in models if f'id="{name.lower()}"' not in keys] == []
    assert [name for name in families() if name not in page(site, "reference/metrics")] == []
    assert [rule["alert"] for rule in rules() if rule["alert"] not in page(site, "reference/alerts")] == []


def test_every_page_of_the_runbook_is_where_the_alerts_say(site):
    for rule in rules():
        path = rule["annotations"]["runbook_url"].removeprefix("https://longwatch.example/")
        assert rule["alert"] in page(site, path.rstrip("/"))


def test_the_site_loads_nothing_from_elsewhere(site):
    loaded = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="(https?://[^"]+)"[^>]*>')
    for path in site.rglob("*.html"):
        tags = [match for match in loaded.finditer(path.read_text()) if 'rel="canonical"' not in match[0]]
        elsewhere = [match[1] for match in tags if not match[1].startswith("https://longwatch.example/")]
        assert elsewhere == [], path


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    lines = [line for block in blocks(text, "(?:sh)?") for line in block.splitlines()]
    return [line.split() for line in lines if line.startswith("longwatch ")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT / "docs")))
def test_a_page_names_only_verbs_and_options_that_exist(path):
    for words in commands(path.read_text()):
        command = get_command(app)
        for word in words[1:]:
            command = getattr(command, "commands", {}).get(word, command)
        assert command is not get_command(app), words
        known = {option for param in command.params for option in param.opts} | {"--debug", "--log-format"}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_the_tutorial_has_commands():
    assert len(blocks(TUTORIAL.read_text(), "sh")) >= 6


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_of_the_tutorial_runs_in_order_on_a_log(tmp_path):
    """As a reader would: one after the other in one folder, on a file that `init` has never seen."""
    (tmp_path / "app.log").write_text("".join(f"{line}\n" for line in demo_frame((0, 12))["line"].head(6000)))
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    for block in blocks(TUTORIAL.read_text(), "sh"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert (tmp_path / "watch" / "bundle" / "manifest.json").exists()
    assert (tmp_path / "watch" / "longwatch.db").exists()
    assert any((tmp_path / "watch" / "report").glob("*.html"))
