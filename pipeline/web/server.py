"""Serves the page from a thread of its own; whatever becomes of it, the worker goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import structlog
import uvicorn
from starlette.routing import Route

from longwatch.pipeline.config.web import Web
from longwatch.pipeline.web.access import Access
from longwatch.pipeline.web.app import Pages
from longwatch.pipeline.web.board import Board

log = structlog.get_logger("longwatch.web")

MOST_CONNECTIONS = 128
CLOSE_S = 2.0


class _Server(uvicorn.Server):
    """Takes no signals: they are the worker's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PageServer:
    """A thread that serves; `port` is the one it got, None where it could not listen."""

    def __init__(
        self, web: Web, access: Access, board: Board, content: Mapping[str, Any], routes: list[Route] | None = None
    ) -> None:
        self._pages = Pages(board, uuid4().hex[:12], content, access)
        self._socket = _listen(web)
        self.port: int | None = None if self._socket is None else self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                self._pages.app(routes or []),
                log_config=None,
                access_log=False,
                lifespan="off",
                loop="asyncio",
                http="h11",
                ws="none",
                server_header=False,
                date_header=False,
                proxy_headers=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
                backlog=64,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="longwatch-page", daemon=True)

    def start(self) -> None:
        """Begin to serve; does nothing where it could not listen."""
        if self._socket is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop; waits a moment for streams to end."""
        self._pages.closing = self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        if self._socket is not None:
            self._socket.close()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket] if self._socket is not None else None)
        except Exception:
            log.exception("page_server_ended", effect="the page is gone; the worker goes on")


def _listen(web: Web) -> socket.socket | None:
    """A listening socket; None, and a line in the log, where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((web.host, web.port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        log.error(
            "page_unavailable", address=f"{web.host}:{web.port}", why=str(error), effect="the worker runs without it"
        )
        return None
    return listening
