"""An end to every blocking call: kafka-python waits without a limit in several places."""

import faulthandler
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_CODE = 75
STOPPED_SECONDS = 5.0
_GRACE_TICKS = 16


def _exit(code: int) -> None:
    os._exit(code)


class Watchdog:
    """Ends the process (exit 75, all stacks on stderr) when a guarded call outlives its deadline.

    `leave` is called with the exit code; one background thread looks at `clock` every `tick` seconds. `longest` holds
    the most seconds that each kind of call has blocked, a kind being what stands before " of " in its name.
    """

    def __init__(
        self, leave: Callable[[int], None] = _exit, clock: Callable[[], float] = time.monotonic, tick: float = 0.25
    ) -> None:
        self._leave = leave
        self._clock = clock
        self._tick = tick
        self._keys = itertools.count()
        self._calls: dict[int, tuple[str, float]] = {}
        self._thread: threading.Thread | None = None
        self.longest: dict[str, float] = {}

    @contextmanager
    def guard(self, what: str, seconds: float) -> Iterator[None]:
        """The block must end within so many seconds; guards may be nested and used from several threads."""
        self._start()
        key, began = next(self._keys), self._clock()
        self._calls[key] = (what, began + seconds)
        try:
            yield
        finally:
            self._calls.pop(key, None)
            kind = what.partition(" of ")[0]
            self.longest[kind] = max(self.longest.get(kind, 0.0), self._clock() - began)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="kafka-watchdog", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        wait, before = threading.Event(), self._clock()
        while not wait.wait(self._tick):
            if self._clock() - before > STOPPED_SECONDS:
                # The process itself was stopped: whether it is fenced, the broker shall say before this does.
                wait.wait(_GRACE_TICKS * self._tick)
            before = now = self._clock()
            late = [what for what, deadline in list(self._calls.values()) if now > deadline]
            if late:
                self._fire(late[0])
                return

    def _fire(self, what: str) -> None:
        print(f"longwatch: {what} did not return in time; leaving with {EXIT_CODE}", file=sys.stderr, flush=True)  # noqa: T201
        faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
        self._leave(EXIT_CODE)
