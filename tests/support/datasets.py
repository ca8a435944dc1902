"""Where the public data sets lie, for tests and benchmarks; nothing of them is part of the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("LONGWATCH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def dataset(name: str) -> Path:
    """Folder of the data set `name`; skips the calling test where it is not on this machine."""
    path = ROOT / name
    if not path.is_dir():
        pytest.skip(f"data set {name} is not at {ROOT}; point LONGWATCH_DATA at the folder that holds it")
    return path
