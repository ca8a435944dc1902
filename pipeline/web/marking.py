"""Marks made on the page: the same as the command writes, into the same log, from which every worker reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.config import Duration
from longwatch.pipeline.errors import LongwatchError
from longwatch.pipeline.feedback.making import make_mark
from longwatch.pipeline.feedback.marks import Entry, Withdrawal
from longwatch.pipeline.web.app import limited_body
from longwatch.pipeline.web.board import Board

log = structlog.get_logger("longwatch.web")

BY = "the page"


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page asks for."""

    alert_id: str
    duration: str
    entities: list[str] = []
    reason: str = ""


class MarkDesk:
    """Takes marks from browsers, one at a time; what the log does not take is said to whoever asked."""

    def __init__(self, board: Board, append: Callable[[Entry], None], now_ms: Callable[[], int]) -> None:
        self._board = board
        self._append = append
        self._now_ms = now_ms
        self._one = asyncio.Lock()

    @property
    def routes(self) -> list[Route]:
        """Where it is asked."""
        return [
            Route("/marks", self.mark, methods=["POST"]),
            Route("/marks/{mark_id}/withdrawal", self.withdraw, methods=["POST"]),
        ]

    async def mark(self, request: Request) -> Response:
        """Silence the pattern of an alert that the page shows."""
        try:
            wish = msgspec.json.decode(await limited_body(request) or b"", type=Wish)
            for_ms = Duration.parse(wish.duration).ms
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _refused(400, "the page sent what is no mark: load it again")
        except PydanticCustomError as error:
            return _refused(400, error.message())
        messages = [msgspec.json.decode(each, type=Alert) for each in self._board.feed.messages_of(wish.alert_id)]
        if not messages:
            return _refused(404, "this alert is no longer among the newest: use `longwatch feedback false-positive`")
        try:
            made = make_mark(messages, wish.entities, self._now_ms(), for_ms=for_ms, reason=wish.reason, by=BY)
        except LongwatchError as error:
            return _refused(400, str(error))
        return await self._write(made)

    async def withdraw(self, request: Request) -> Response:
        """Take a mark back."""
        mark_id = request.path_params["mark_id"]
        if not any(mark_id == each["id"] for each in self._board.snapshot.content.get("marks", [])):
            return _refused(404, "no such mark is in force")
        return await self._write(Withdrawal(mark_id, self._now_ms(), BY))

    async def _write(self, entry: Entry) -> Response:
        async with self._one:
            try:
                await run_in_threadpool(self._append, entry)
            except LongwatchError as error:
                log.warning("mark_not_written", why=error.message)
                return _refused(503, f"not written: {error.message}")
        log.info("marked", mark=entry.mark_id, what=type(entry).__name__.lower())
        return JSONResponse({"markId": entry.mark_id}, 201)


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
