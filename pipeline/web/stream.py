"""Server-sent events of one browser: alert messages from where it left off, and the newest snapshot.

Each browser reads the board at its own pace. One that reads slowly is told how many messages went by; one that takes
nothing for `STALLED_S` is hung up on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from longwatch.pipeline.console import sanitise
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.web.board import Board
from longwatch.pipeline.web.feed import Entry

STALLED_S = 20.0
LOOK_S = 0.2
QUIET_S = 10.0
RETRY_MS = 2000
MOST_AT_ONCE = 50


def harmless(value: Any) -> Any:
    """The same with control and bidi characters of every text written out."""
    if isinstance(value, str):
        return sanitise(value)
    if isinstance(value, dict):
        return {sanitise(str(name)): harmless(each) for name, each in value.items()}
    return [harmless(each) for each in value] if isinstance(value, list | tuple) else value


def event(name: str, content: Any, number: str = "") -> bytes:
    """One event as it goes over the line."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: ".encode() + msgspec.json.encode(harmless(content)) + b"\n\n"


def resume_at(last_id: str, run: str) -> int | None:
    """The number after which a browser wants messages; None where its last id is of another run of the worker."""
    of_run, _, number = last_id.partition(".")
    return int(number) if of_run == run and number.isdecimal() and len(number) < 16 else None


async def events(board: Board, run: str, last_id: str, is_closing: Callable[[], bool]) -> AsyncIterator[bytes]:
    """All there is to tell, for ever."""
    at = resume_at(last_id, run)
    yield f"retry: {RETRY_MS}\n\n".encode()
    if at is None:
        at = 0
        yield event("begin", {"startedMs": board.started_ms, "anew": bool(last_id)})
    told, quiet = 0, 0.0
    while not is_closing():
        entries, missed = board.feed.after(at)
        if missed:
            yield event("missed", {"count": missed})
        for entry in entries[:MOST_AT_ONCE]:
            at = entry.number
            yield _alert(entry, run)
        snapshot = board.snapshot
        if snapshot.number != told:
            told, quiet = snapshot.number, 0.0
            yield event("state", snapshot.content)
        elif quiet >= QUIET_S:
            quiet = 0.0
            yield b": still here\n\n"
        if len(entries) <= MOST_AT_ONCE:
            await asyncio.sleep(LOOK_S)
            quiet += LOOK_S


def _alert(entry: Entry, run: str) -> bytes:
    content = {"silenced": entry.kind is not Kind.ALERT, "alert": msgspec.json.decode(entry.value)}
    return event("alert", content, f"{run}.{entry.number}")


class EventStream:
    """An endless response that gives up on a reader who takes nothing; `closed` is called however it ends."""

    def __init__(self, parts: AsyncIterator[bytes], closed: Callable[[], None], stalled_s: float = STALLED_S) -> None:
        self._parts = parts
        self._closed = closed
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        gone = asyncio.ensure_future(_disconnected(receive))
        sending = asyncio.ensure_future(self._send(headers, send))
        try:
            await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)
            self._closed()

    async def _send(self, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in self._parts:
            message = {"type": "http.response.body", "body": part, "more_body": True}
            await asyncio.wait_for(send(message), self._stalled_s)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
