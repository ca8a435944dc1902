"""Fixtures that more than one module of tests/pipeline takes."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from playwright.sync_api import Browser

from support.browser import chromium


@pytest.fixture(autouse=True, scope="module")
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for their process; the next module's tests start without it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all rooms with pages: Playwright does not run twice in a process."""
    with chromium() as found:
        yield found
