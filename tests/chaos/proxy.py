"""A TCP proxy on loopback between clients and a real broker, with faults that are switched while bytes flow."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["delay", "throttle", "stall", "cut", "reset", "mute", "half_open", "refuse"]
"""What happens to connections while a fault of the kind holds:

    delay      every chunk waits `delay_s`, give or take `jitter_s`, in both directions
    throttle   `bytes_per_s` pass
    stall      nothing passes until the fault ends, then everything: what loss of packets is to a TCP stream
    cut        each open connection is reset once; new ones live
    reset      each connection is reset in the middle of the next frame that the broker sends
    mute       what is asked reaches the broker; open connections, and those made meanwhile, get no answer any more
    half_open  open connections, and those made meanwhile, are taken, never answered, and stay dead afterwards
    refuse     connections are reset, and new ones refused
"""

CHUNK = 16_384
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """A kind of trouble and its measures."""

    kind: Kind
    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0


@dataclass
class Frames:
    """Follows the frames of one direction (4 bytes of length, then so many) through chunks of any size."""

    head: bytes = b""
    left: int = 0

    def inside(self, chunk: bytes) -> int | None:
        """How much of the chunk to pass so that a frame breaks off in its middle; None when no frame allows it."""
        bodies = replace(self).bodies(chunk)
        return next((at + size // 2 for at, size in bodies if size > 1), None)

    def bodies(self, chunk: bytes) -> Iterator[tuple[int, int]]:
        """Take the chunk, giving place and size of each piece of a body in it."""
        at = 0
        while at < len(chunk):
            if self.left == 0:
                take = chunk[at : at + 4 - len(self.head)]
                self.head, at = self.head + take, at + len(take)
                if len(self.head) == 4:
                    self.left, self.head = struct.unpack(">i", self.head)[0], b""
                continue
            size = min(self.left, len(chunk) - at)
            yield at, size
            self.left, at = self.left - size, at + size


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter | None = None
    dead: bool = False
    mute: bool = False
    doomed: bool = False
    """Reset in the middle of the next frame."""

    def reset(self) -> None:
        for writer in (self.client, self.broker):
            if writer is not None and (sock := writer.get_extra_info("socket")) is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()


@dataclass
class Proxy:
    """Listens on `port` for as long as `running` holds; `apply` begins a fault, `heal` ends it."""

    target: int
    seed: int
    port: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("taken", "reset", "dead", "chunks"), 0))
    _fault: Fault | None = None

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """The proxy in a thread of its own."""
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        thread.start()
        try:
            self._call(self._listen)
            yield self
        finally:
            self._call(self._end)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def apply(self, fault: Fault) -> None:
        """From now on, instead of what held before."""
        self._call(self._switch, fault)

    def heal(self) -> None:
        """No fault from now on; what is half open stays so."""
        self._call(self._switch, None)

    def _call(self, function: Callable[..., Awaitable[None]], *arguments: object) -> None:
        async def call() -> None:
            await function(*arguments)

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _switch(self, fault: Fault | None) -> None:
        self._fault = fault
        if self._server is None:
            await self._listen()
        kind = fault.kind if fault is not None else None
        if kind == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._open):
            if kind in ("cut", "refuse"):
                self._reset(connection)
            self._mark(connection)
            if kind == "half_open":
                self._kill(connection)

    def _mark(self, connection: _Connection) -> None:
        kind = self._fault.kind if self._fault is not None else None
        connection.doomed = kind == "reset"
        connection.mute = connection.mute or kind == "mute"

    def _kill(self, connection: _Connection) -> None:
        self.counts["dead"] += not connection.dead
        connection.dead = True
        # The broker sees its client go, as it would after a while.
        if connection.broker is not None:
            connection.broker.close()

    def _reset(self, connection: _Connection) -> None:
        self.counts["reset"] += 1
        connection.reset()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self.counts["taken"] += 1
        self._open.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(connection, reader)
        except (OSError, asyncio.CancelledError):
            connection.reset()
        finally:
            self._open.discard(connection)
            self._tasks.discard(task)
            for end in (connection.client, connection.broker):
                if end is not None:
                    end.close()

    async def _serve(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        if self._fault is not None and self._fault.kind == "half_open":
            self._kill(connection)
            await self._pump(connection, reader, None, None)
            return
        back, connection.broker = await asyncio.open_connection("127.0.0.1", self.target)
        self._mark(connection)
        answers = asyncio.create_task(self._pump(connection, back, connection.client, Frames()))
        try:
            await self._pump(connection, reader, connection.broker, None)
        finally:
            connection.broker.close()
            await asyncio.gather(answers, return_exceptions=True)

    async def _pump(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter | None,
        frames: Frames | None,
    ) -> None:
        """One direction until its end; `frames` for the broker's, which may break off in a frame."""
        while chunk := await reader.read(CHUNK):
            self.counts["chunks"] += 1
            await self._hold(len(chunk))
            if connection.dead or writer is None or (frames is not None and connection.mute):
                continue
            if frames is not None and connection.doomed and (keep := frames.inside(chunk)) is not None:
                writer.write(chunk[:keep])
                await writer.drain()
                self._reset(connection)
                return
            if frames is not None:
                deque(frames.bodies(chunk), 0)
            writer.write(chunk)
            await writer.drain()
        if not connection.dead and writer is not None:
            writer.close()

    async def _hold(self, size: int) -> None:
        fault = self._fault
        if fault is None:
            return
        if fault.kind == "delay":
            await asyncio.sleep(max(0.0, fault.delay_s + self._draw.uniform(-fault.jitter_s, fault.jitter_s)))
        elif fault.kind == "throttle":
            await asyncio.sleep(size / fault.bytes_per_s)
        while self._fault is not None and self._fault.kind == "stall":
            await asyncio.sleep(0.02)
