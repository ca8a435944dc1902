"""Fixtures of the simulator's tests."""

from collections.abc import Iterator

import pytest
import structlog

from support.kafka_broker import kafka

__all__ = ["kafka"]


@pytest.fixture
def quiet() -> Iterator[None]:
    """No line for each of thousands of workers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()
