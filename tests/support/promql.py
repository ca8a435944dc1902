"""The rules and queries under ops/, and promtool to judge them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from longwatch.pipeline.metrics.families import families

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "ops" / "prometheus"

# What Prometheus itself and the client library's process collector make.
OTHERS = {
    "ALERTS",
    "up",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
}

_STRING = re.compile(r'"[^"]*"')
_NAME = re.compile(r"\b(longwatch_[a-z_]+|process_[a-z_]+|up|ALERTS)\b")
_LABELS = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


def yaml_of(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def rules() -> Iterator[dict[str, Any]]:
    """Every alerting rule."""
    for group in yaml_of(PROMETHEUS / "alerts.yaml")["groups"]:
        yield from group["rules"]


def series_in(query: str) -> set[str]:
    """The names of series that a query asks for."""
    return set(_NAME.findall(_STRING.sub('""', query)))


def known_series() -> set[str]:
    return OTHERS | {name for family in families().values() for name in family.series}


def labels_in(query: str) -> set[str]:
    """The labels that a query groups or joins by."""
    return {label.strip() for found in _LABELS.findall(query) for label in found.split(",") if label.strip()}


def promtool(*words: object) -> "subprocess.CompletedProcess[str]":
    """Runs it; without one the test is skipped, but not in CI."""
    found = shutil.which("promtool") or str(ROOT / ".cache" / "bin" / "promtool")
    if not Path(found).exists() and os.environ.get("CI") != "true":
        pytest.skip("no promtool: `make promtool` gets it")
    return subprocess.run([found, *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
