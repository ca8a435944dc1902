"""Serves /metrics, /healthz and /readyz from threads of its own; whatever becomes of it, the worker goes on."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from longwatch.pipeline.config.metrics import Metrics
from longwatch.pipeline.metrics.health import Pulse
from longwatch.pipeline.web.access import Access

log = structlog.get_logger("longwatch.metrics")

MOST_REQUESTS = 16
REQUEST_S = 5.0

Respond = Callable[[str, list[tuple[str, str]]], Any]


class Answers:
    """The WSGI application. Health says nothing that needs a token: a probe of a supervisor has none."""

    def __init__(self, registry: CollectorRegistry, pulse: Pulse, access: Access) -> None:
        self._registry = registry
        self._pulse = pulse
        self._access = access

    def __call__(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        """One request; all of them only look."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text(respond, HTTPStatus.METHOD_NOT_ALLOWED, "only GET\n")
        pages: dict[str, Callable[[dict[str, Any], Respond], Iterable[bytes]]] = {
            "/metrics": self._metrics,
            "/healthz": lambda _, respond: _verdict(respond, self._pulse.sick()),
            "/readyz": lambda _, respond: _verdict(respond, self._pulse.unready()),
        }
        page = pages.get(environ.get("PATH_INFO", ""))
        if page is None:
            return _text(respond, HTTPStatus.NOT_FOUND, "/metrics, /healthz, /readyz\n")
        return page(environ, respond)

    def _metrics(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        if not self._access.knows(environ.get("HTTP_HOST", "")):
            return _text(respond, HTTPStatus.MISDIRECTED_REQUEST, "unknown host name: list it in metrics.hosts\n")
        if not self._access.lets_in({"authorization": environ.get("HTTP_AUTHORIZATION", "")}, {}):
            return _text(respond, HTTPStatus.UNAUTHORIZED, "needs `Authorization: Bearer TOKEN`\n")
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        return _send(respond, HTTPStatus.OK, content_type, encode(self._registry))


class _Handler(WSGIRequestHandler):
    """Gives a slow client up, and writes no line for each request."""

    timeout = REQUEST_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        log.debug("request", path=getattr(self, "path", ""))


class _Server(ThreadingMixIn, WSGIServer):
    """At most so many requests at once; one more is closed unanswered."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answers: Answers) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(address, _Handler)
        self.set_app(answers)

    def server_bind(self) -> None:
        """As the base does, without asking a name server for our own name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("request_broken", why=type(sys.exception()).__name__)


class MetricsServer:
    """A thread that serves; `port` is the one it got, None where it could not listen."""

    def __init__(self, section: Metrics, answers: Answers) -> None:
        self._server = _listening(section, answers)
        self.port: int | None = None if self._server is None else self._server.server_port

    def start(self) -> None:
        """Begin to serve; does nothing where it could not listen."""
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, name="longwatch-metrics", daemon=True).start()

    def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _listening(section: Metrics, answers: Answers) -> _Server | None:
    try:
        return _Server((section.host, section.port), answers)
    except OSError as error:
        address = f"{section.host}:{section.port}"
        log.error("metrics_unavailable", address=address, why=str(error), effect="the worker runs without them")
        return None


def _verdict(respond: Respond, reasons: list[str]) -> Iterable[bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({"ok": not reasons, "reasons": reasons}) + "\n"
    return _send(respond, status, "application/json", body.encode())


def _text(respond: Respond, status: HTTPStatus, text: str) -> Iterable[bytes]:
    return _send(respond, status, "text/plain; charset=utf-8", text.encode())


def _send(respond: Respond, status: HTTPStatus, content_type: str, body: bytes) -> Iterable[bytes]:
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    respond(f"{status.value} {status.phrase}", headers)
    return [body]
