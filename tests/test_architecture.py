"""The import rules that hold the rooms apart; import-linter checks the layers, this what it cannot."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("kernels", "model", "pipeline")


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def importers(package: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in sources() if package in imported(path)}


def test_the_kafka_client_is_imported_in_one_file():
    assert importers("kafka") == {"pipeline/kafka_client.py"}


def test_triton_is_imported_under_triton_impl_only():
    assert all(path.startswith("kernels/triton_impl/") for path in importers("triton"))


def test_nothing_unpickles():
    assert importers("pickle") | importers("dill") | importers("joblib") == set()


def test_no_file_is_a_drawer():
    drawers = {"utils.py", "common.py", "helpers.py", "misc.py"}
    assert [path for path in sources() if path.name in drawers] == []


def test_no_file_is_longer_than_a_room():
    assert {str(path): lines for path in sources() if (lines := len(path.read_text().splitlines())) > 320} == {}


@pytest.mark.parametrize("module", ["longwatch.model.scorer", "longwatch.pipeline.commands.run", "longwatch.kernels"])
def test_a_worker_starts_without_torch(module):
    """A fresh process in which importing torch or triton fails."""
    code = f"import sys\nsys.modules['torch'] = sys.modules['triton'] = None\nimport {module}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
