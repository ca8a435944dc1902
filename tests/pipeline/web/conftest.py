"""Browsers, and workers that serve the page."""

from collections.abc import Iterator

import pytest

from support.demo import demo_frame
from support.live_page import Serving, serving

FIRST = 6000


@pytest.fixture(scope="session")
def lines() -> list[str]:
    return demo_frame((8, 20))["line"].to_list()


@pytest.fixture(scope="module")
def worker(lines, tmp_path_factory) -> Iterator[Serving]:
    """A worker that has read the first of the lines, and waits for more."""
    with serving(tmp_path_factory.mktemp("worker"), {"feedback": {}}) as found:
        found.feed(lines[:FIRST])
        yield found
