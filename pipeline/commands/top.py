"""`longwatch top ADDRESS`: a running worker or relay on the terminal, from its metrics endpoint."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.metrics.scrape import fetch, reasons
from longwatch.pipeline.metrics.view import Moment, screen


def top(
    address: str, interval: float, once: bool, token_env: str | None, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Draws it again every `interval` seconds until interrupted; off a terminal, or with `once`, a single time."""
    token = _token(token_env)
    console = Console(file=sys.stdout, highlight=False)
    now = _moment(address, token)
    if once or not console.is_terminal:
        console.print(screen(None, now))
        return 0
    with Live(screen(None, now), console=console, screen=True, auto_refresh=False) as live:
        while True:
            sleep(interval)
            before, now = now, _moment(address, token)
            live.update(screen(before, now), refresh=True)


def _moment(address: str, token: str | None) -> Moment:
    return Moment(fetch(address, token), time.time(), reasons(address))


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise UsageError(f"environment variable `{variable}` is not set", "it holds the token of `metrics.token_env`")
    return token
