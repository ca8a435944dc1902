"""The routes of the page, as an ASGI application: who may ask is settled before any of them runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from longwatch.pipeline.web import page
from longwatch.pipeline.web.access import COOKIE, Access, from_this_page
from longwatch.pipeline.web.board import Board
from longwatch.pipeline.web.stream import EventStream, events

MOST_STREAMS = 32
LARGEST_BODY = 16 * 1024
WRONG_TOKEN_S = 0.5


class Guard:
    """Lets requests through that come by a known name and show the token; all answers carry the page's policy."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, _with_policy(send))

    def _refusal(self, request: Request) -> Response | None:
        if not self._access.knows(request.headers.get("host", "")):
            return PlainTextResponse("this page is not asked for by that name; `web.hosts` lists them\n", 421)
        if request.method not in ("GET", "HEAD") and not from_this_page(request.headers):
            return PlainTextResponse("sent by another page\n", 403)
        if request.url.path in ("/login", "/page.css") or self._access.lets_in(request.headers, request.cookies):
            return None
        if request.url.path == "/" and request.method == "GET":
            return RedirectResponse("login", 303)
        return PlainTextResponse("the page's token is missing\n", 401, {"www-authenticate": "Bearer"})


def _with_policy(send: Send) -> Send:
    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            policy = [(name.encode(), value.encode()) for name, value in page.HEADERS.items()]
            message["headers"] = [
                *(each for each in message.get("headers", ()) if each[0] != b"cache-control"),
                *policy,
            ]
        await send(message)

    return wrapped


class Pages:
    """What the routes answer from."""

    def __init__(self, board: Board, run: str, content: Mapping[str, Any], access: Access) -> None:
        self._board = board
        self._run = run
        self._pipeline = str(content["pipeline"])
        self._access = access
        self._frame, self._script, self._style = page.frame(content), page.script(), page.style()
        self.open_streams = 0
        self.closing = False

    def app(self, routes: list[Route]) -> Starlette:
        """The application; `routes` are further ones."""
        own = [
            Route("/", self.front),
            Route("/page.js", self.script),
            Route("/page.css", self.style),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/events", self.events),
        ]
        return Starlette(routes=[*own, *routes], middleware=[Middleware(Guard, access=self._access)])

    async def front(self, request: Request) -> Response:
        """The page."""
        return HTMLResponse(self._frame)

    async def script(self, request: Request) -> Response:
        """Its script."""
        return Response(self._script, media_type="text/javascript")

    async def style(self, request: Request) -> Response:
        """Its style."""
        return Response(self._style, media_type="text/css")

    async def login(self, request: Request) -> Response:
        """The form for the token, and what it sends."""
        if request.method == "GET":
            return HTMLResponse(page.login(self._pipeline, wrong=False))
        body = await limited_body(request)
        given = parse_qs((body or b"").decode("utf-8", "replace")).get("token", [""])[0]
        if not self._access.is_token(given):
            await asyncio.sleep(WRONG_TOKEN_S)
            return HTMLResponse(page.login(self._pipeline, wrong=True), 403)
        answer = RedirectResponse("./", 303)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        answer.set_cookie(COOKIE, self._access.session, httponly=True, samesite="strict", secure=secure)
        return answer

    async def events(self, request: Request) -> EventStream | Response:
        """The stream of a browser; a few at a time."""
        if self.open_streams >= MOST_STREAMS:
            return PlainTextResponse(f"{MOST_STREAMS} browsers look on already\n", 503, {"retry-after": "10"})
        last_id = request.headers.get("last-event-id", "")
        self.open_streams += 1
        return EventStream(events(self._board, self._run, last_id, self._is_closing), self._closed)

    def _is_closing(self) -> bool:
        return self.closing

    def _closed(self) -> None:
        self.open_streams -= 1


async def limited_body(request: Request) -> bytes | None:
    """The body of a request; None where it is too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            return None
    return body
