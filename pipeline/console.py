"""What reaches the terminal: logs, progress, and text from logs made harmless."""

import logging
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

if TYPE_CHECKING:
    import structlog
    from rich.progress import Progress, TaskID

    from longwatch.pipeline.config import Logging

LogFormat = Literal["auto", "text", "json"]

PLAIN_PROGRESS_SECONDS = 5.0

# C0 and C1 controls, line separators, bidirectional controls, invisible marks, and halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def sanitise(text: str, keep: str = "") -> str:
    r"""The text with every control, escape and bidi character written out as `\x1b`; `keep` names those to leave."""
    return _UNSAFE.sub(lambda match: match[0] if match[0] in keep else _written_out(match[0]), text)


def json_line(value: bytes) -> str:
    r"""JSON for a screen: equal to what it was, with every control and bidi character as `\u202e`."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", value.decode())


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def days_in_words(days: float) -> str:
    """A stretch of log for a person: `1.50 days`, `23 min`, `45 s`."""
    seconds = days * 86_400
    if days >= 1:
        return f"{days:.2f} days"
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 7200
        else f"{seconds / 60:.0f} min"
        if seconds >= 120
        else f"{seconds:.0f} s"
    )


def write_line(text: str, stream: TextIO | None = None) -> None:
    """One or more lines to standard output (or `stream`), sanitised, and flushed so that pipes see them at once."""
    target = sys.stdout if stream is None else stream
    target.write(
        sanitise(text, keep="\n").encode(target.encoding or "utf-8", "replace").decode(target.encoding or "utf-8")
    )
    target.write("\n")
    target.flush()


def write_error(text: str) -> None:
    """`error: ...` to standard error, sanitised."""
    write_line(f"error: {text}", sys.stderr)


def settle_logging(section: "Logging") -> None:
    """What the YAML says, where the command line and the environment left it open."""
    set_up_logging(_given or section.format, section.level)


def take_log_format(log_format: LogFormat | None) -> None:
    """Log as the command line or the environment says; None leaves it to the YAML, and to `auto` until it is read."""
    global _given
    _given = log_format
    set_up_logging(log_format or "auto")


_given: LogFormat | None = None


def set_up_logging(log_format: LogFormat = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """structlog and the standard library's logging to one stream (standard error).

    `auto`: colours on a terminal, else key=value lines; `text`: key=value lines; `json`: one object to a line.
    """
    import structlog

    target = sys.stderr if stream is None else stream
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _masked_event(),
        _sanitise_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(log_format, target)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries report each reconnect and each optimiser pass at info; what matters of them is a warning, or ours.
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("longwatch").setLevel(level.upper())


def _renderer(log_format: LogFormat, stream: TextIO) -> "structlog.typing.Processor":
    import structlog

    if log_format == "json":
        return structlog.processors.JSONRenderer(sort_keys=False)
    if log_format == "auto" and stream.isatty():
        return structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], drop_missing=True)


def _masked_event() -> "structlog.typing.Processor":
    """Without personal data; folders of a user are shown, for files are what most messages are about."""
    from longwatch.pipeline.masking.masker import masker

    mask = masker(("secrets", "emails", "cards"))

    def masked(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        del logger, method
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = mask.text(value)
        return event

    return masked


def _sanitise_event(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    del logger, method
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = sanitise(value, keep="\n" if key == "exception" else "")
    return event


class ProgressReport(AbstractContextManager["ProgressReport"]):
    """How far a long step is: a bar on a terminal, else a plain line at most every 5 seconds and one at the end.

    `total` may be None; `clock` gives seconds that never go back.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        unit: str = "",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = sanitise(label)
        self._total = total
        self._unit = f" {unit}" if unit else ""
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._done = 0
        self._next_line = clock() + PLAIN_PROGRESS_SECONDS
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._bar, self._task = _bar(self._label, self._total, self._stream)
            self._bar.start()
        return self

    def advance(self, steps: int = 1) -> None:
        """That many more are done."""
        self._done += steps
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, steps)
        elif self._clock() >= self._next_line:
            self._next_line = self._clock() + PLAIN_PROGRESS_SECONDS
            self._write()

    def expect(self, total: int) -> None:
        """So many it will be, if that was not known before."""
        self._total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def reach(self, done: int) -> None:
        """So many are done in all."""
        self.advance(done - self._done)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._write()

    def _write(self) -> None:
        of_total = f" of {self._total:,}" if self._total is not None else ""
        write_line(f"{self._label}: {self._done:,}{of_total}{self._unit}", self._stream)


def _bar(label: str, total: int | None, stream: TextIO) -> "tuple[Progress, TaskID]":
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(file=stream), transient=False)
    return bar, bar.add_task(escape(label), total=total)
