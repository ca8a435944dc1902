import io
import json
import logging

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.console import ProgressReport, days_in_words, json_line, sanitise, set_up_logging, write_line


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@given(st.text())
def test_sanitised_text_has_no_character_that_a_terminal_obeys(text: str):
    clean = sanitise(text)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in clean)
    assert not set(clean) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    assert sanitise(clean) == clean
    clean.encode()


@pytest.mark.parametrize("text", ["plain", "ümlaut 日本 🚒", "a\\b", "[bold]not markup[/]", ""])
def test_ordinary_text_is_left_as_it_is(text: str):
    assert sanitise(text) == text


def test_a_control_is_written_out_where_it_stood():
    assert sanitise("a\x1b]8;;http://x\x07b\u202ec") == "a\\x1b]8;;http://x\\x07b\\u202ec"
    assert sanitise("a\nb\tc", keep="\n") == "a\nb\\x09c"


def test_a_stream_that_cannot_show_a_character_gets_a_question_mark():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write_line("日", stream)
    assert raw.getvalue() == b"?\n"


def logged(stream: io.StringIO, log_format: str) -> str:
    set_up_logging(log_format, stream=stream)
    structlog.get_logger("longwatch").info("batch done", partition="logs[0]", line="x\x1b[2J", count=3)
    logging.getLogger("kafka.conn").info("reconnecting")
    logging.getLogger("other").warning("from %s", "elsewhere")
    return stream.getvalue()


def test_off_a_terminal_log_lines_are_key_value():
    first, second = logged(io.StringIO(), "auto").splitlines()
    assert first.split(" ", 1)[1] == r'level=info event="batch done" partition=logs[0] line=x\x1b[2J count=3'
    assert 'level=warning event="from elsewhere"' in second


def test_on_a_terminal_log_lines_have_colours():
    shown = logged(Terminal(), "auto")
    assert "\x1b[" in shown
    assert "\\x1b[2J" in shown


def test_json_log_lines_are_objects_whatever_the_stream():
    first, second = (json.loads(line) for line in logged(Terminal(), "json").splitlines())
    assert (first["event"], first["count"], first["level"], first["line"]) == ("batch done", 3, "info", "x\\x1b[2J")
    assert second["event"] == "from elsewhere"


def test_a_traceback_in_a_log_stays_readable():
    stream = io.StringIO()
    set_up_logging("json", stream=stream)
    try:
        raise ValueError("bad \x1b")
    except ValueError:
        structlog.get_logger().exception("failed")
    event = json.loads(stream.getvalue())
    assert "ValueError: bad \\x1b" in event["exception"].splitlines()[-1]


def test_off_a_terminal_progress_is_a_line_every_five_seconds_and_one_at_the_end():
    stream, clock = io.StringIO(), Clock()
    with ProgressReport("scoring", total=1000, unit="windows", stream=stream, clock=clock) as progress:
        for _ in range(120):
            clock.now += 0.125
            progress.advance(5)
    assert stream.getvalue().splitlines() == [
        "scoring: 200 of 1,000 windows",
        "scoring: 400 of 1,000 windows",
        "scoring: 600 of 1,000 windows",
        "scoring: 600 of 1,000 windows",
    ]


def test_progress_needs_no_total():
    stream = io.StringIO()
    with ProgressReport("reading\x1b", stream=stream, clock=Clock()) as progress:
        progress.advance(3)
    assert stream.getvalue() == "reading\\x1b: 3\n"


def test_on_a_terminal_progress_is_a_bar():
    stream = Terminal()
    with ProgressReport("scoring [x]", total=4, stream=stream, clock=Clock()) as progress:
        progress.advance(4)
    assert "scoring [x]" in stream.getvalue()
    assert "4/4" in stream.getvalue()


def test_json_for_a_screen_is_equal_and_moves_no_cursor():
    hostile = "\x1b]0;title\x07 \x9b31m \u202eevil\u2066 \u2028 ok"
    line = json_line(msgspec.json.encode({"line": hostile}))
    assert json.loads(line) == {"line": hostile}
    assert line.isprintable()


@pytest.mark.parametrize(
    ("days", "words"), [(1.5, "1.50 days"), (0.5, "12.0 h"), (23 / 1440, "23 min"), (45 / 86400, "45 s"), (0, "0 s")]
)
def test_a_stretch_of_log_is_told_in_a_unit_that_shows_it(days, words):
    assert days_in_words(days) == words


def test_a_total_that_shows_later_is_the_one_told():
    stream = io.StringIO()
    with ProgressReport("training", 300, "steps", stream, clock=lambda: 0.0) as progress:
        progress.expect(150)
        progress.reach(150)
    assert stream.getvalue() == "training: 150 of 150 steps\n"
