"""Pages that are made from the code, and those that live elsewhere in the repository, as mkdocs sees them."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from reference import alerts, cli, exit_codes, metrics, yaml_sections

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = ROOT / "ops" / "runbook"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The runbook's pages in the order of their alerts."""
    pages = [{"Runbook": ["runbook/index.md", *(f"runbook/{path.name}" for path in _runbook())]}]
    config.nav = [each for each in config.nav if "Runbook" not in each] + pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, text in _pages():
        files.append(File.generated(config, name, content=text))
    return files


def _pages() -> Iterator[tuple[str, str]]:
    yield "reference/cli.md", cli()
    yield "reference/yaml.md", yaml_sections()
    yield "reference/metrics.md", metrics()
    yield "reference/alerts.md", alerts(ROOT / "ops" / "prometheus" / "alerts.yaml")
    yield "reference/exit-codes.md", exit_codes()
    yield "guarantees.md", _plain((ROOT / "ops" / "GUARANTEES.md").read_text())
    yield "benchmarks.md", _measured((ROOT / "README.md").read_text())
    yield "explanation/windows.md", _sections("Windows and promises", "The way the data goes", "Beyond Kafka")
    yield "runbook/index.md", _index()
    for path in _runbook():
        yield f"runbook/{path.name}", path.read_text()


def _runbook() -> list[Path]:
    return sorted(RUNBOOK.glob("*.md"))


def _index() -> str:
    lines = [path.read_text().splitlines() for path in _runbook()]
    titles = [f"- [{text[0].removeprefix('# ')}]({path.name})" for path, text in zip(_runbook(), lines, strict=True)]
    return "\n".join(["# Runbook", "", "One page an alert: what it means, what to run first, what to do.", "", *titles])


def _measured(readme: str) -> str:
    table = re.search(r"## What was measured\n(.*?)\n## ", readme, re.DOTALL)
    assert table, "README.md has no `## What was measured`"
    return "# Benchmarks\n" + _plain(table[1])


def _sections(title: str, first: str, until: str) -> str:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    found = re.search(rf"(## {first}\n.*?)\n## {until}", text, re.DOTALL)
    assert found, f"ARCHITECTURE.md has no `## {first}`"
    return f"# {title}\n\n{_plain(found[1])}"


def _plain(text: str) -> str:
    """Links to files of the repository, which are no pages here, as their text."""
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text)
