"""From a configuration to a page that is served, or to none where it has no `web`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog

from longwatch.pipeline.assembly import Model, rules_for
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config
from longwatch.pipeline.config.web import Web
from longwatch.pipeline.console import sanitise
from longwatch.pipeline.feedback.making import append
from longwatch.pipeline.feedback.marks import MarkBook
from longwatch.pipeline.watch import UNWATCHED, Watch
from longwatch.pipeline.why.words import MEANING

log = structlog.get_logger("longwatch.web")


@contextmanager
def opened_page(config: Config, model: Model, book: MarkBook, clock: Clock, instance: str) -> Iterator[Watch]:
    """What the worker tells, while the page is served; raises ConfigError where the token cannot be read."""
    if config.web is None:
        yield UNWATCHED
        return
    from longwatch.pipeline.web.access import access_to
    from longwatch.pipeline.web.board import Board
    from longwatch.pipeline.web.marking import MarkDesk
    from longwatch.pipeline.web.server import PageServer

    access = access_to("web", config.web)
    board = Board(clock, book, config.masking.masker())
    desk = None if config.feedback is None else MarkDesk(board, partial(append, config), clock.now_ms)
    routes = [] if desk is None else desk.routes
    server = PageServer(config.web, access, board, page_content(config, model, instance), routes)
    server.start()
    try:
        if server.port is not None:
            log.info("page", address=address(config.web, server.port), token_asked=access.token is not None)
        yield board
    finally:
        server.close()


def address(web: Web, port: int) -> str:
    """Where a browser finds it."""
    host = f"[{web.host}]" if ":" in web.host else web.host
    return f"http://{host}:{port}/"


def page_content(config: Config, model: Model, instance: str) -> Mapping[str, Any]:
    """What never changes while the worker runs."""
    from longwatch.pipeline.web.page import thresholds

    bundle = model.bundle
    return {
        "pipeline": sanitise(config.pipeline),
        "instance": sanitise(instance),
        "bundle": bundle.digest[:16],
        "config": config.digest[:16],
        "meaning": MEANING,
        "feedback": config.feedback is not None,
        "thresholds": thresholds(list(rules_for(config, bundle.calibration)), bundle.calibration),
    }
