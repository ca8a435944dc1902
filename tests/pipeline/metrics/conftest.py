"""Metrics of a worker that has opened its bundle, served at a free port."""

import pytest

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.metrics.opened import worker_metrics
from support.demo import demo_model
from support.scraping import metrics_config


@pytest.fixture
def opened():
    config = metrics_config()
    with worker_metrics(config, ManualClock(), "w1") as opened:
        opened.loaded(config, demo_model())
        yield opened
