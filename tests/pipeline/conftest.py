"""Fixtures that more than one module of tests/pipeline takes."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True, scope="module")
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for their process; the next module's tests start without it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
