"""A bundle of mixed patterns with both graphs, exported once for all tests of tests/model/deploy."""

import dataclasses
from pathlib import Path

import pytest

from longwatch.model.bundle import Bundle, write_bundle
from longwatch.model.deploy.package import deployable_parts
from support.bundles import QUICK, TINY, make_branching_graph, make_parts, train_tiny

HYBRID = dataclasses.replace(
    TINY, layers=("sliding(24) | global(4) | strided(32, width=4)", "strided(110, width=3)", "dense")
)


@pytest.fixture(scope="session")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Patterns of every kind that a step graph takes."""
    folder = Path(tmp_path_factory.mktemp("deploy"))
    trained = train_tiny(HYBRID, dataclasses.replace(QUICK, max_steps=20))
    unused = make_branching_graph(0).SerializeToString()
    plain = write_bundle(folder / "trained", make_parts(trained, unused), "2026-01-01T00:00:00Z")
    return write_bundle(folder / "deployable", deployable_parts(plain), "2026-01-01T00:00:00Z")
