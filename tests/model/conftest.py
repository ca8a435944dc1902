"""Fixtures that more than one module of tests/model takes."""

from pathlib import Path

import pytest

from longwatch.model.bundle import Bundle
from support.bundles import make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A trained bundle that nobody may change."""
    return make_bundle(Path(tmp_path_factory.mktemp("bundles")) / "tiny")
