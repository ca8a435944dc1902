"""A log line is one line whatever is in it, in the form that the command line, the environment or the YAML asks for."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline import console
from longwatch.pipeline.cli import main
from longwatch.pipeline.config import Logging
from longwatch.pipeline.console import set_up_logging, settle_logging, take_log_format
from support.demo import HOME

NASTY = st.text(st.characters(codec=None) | st.sampled_from("\n\r\x1b\x00\x85\u2028\u202e\"=' \\\ud800"), max_size=40)
VALUES = st.recursive(NASTY | st.integers() | st.binary(max_size=8), lambda inner: st.lists(inner, max_size=3))


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level, given = list(root.handlers), root.level, console._given
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    console._given = given
    structlog.reset_defaults()


def logged(log_format, write) -> str:
    stream = io.StringIO()
    set_up_logging(log_format, stream=stream)
    write(structlog.get_logger("longwatch.test"))
    return stream.getvalue()


@given(VALUES)
def test_a_value_cannot_end_its_line_or_begin_another(value):
    for log_format in ("json", "text"):
        said = logged(log_format, lambda log: log.warning("happened", what=value))
        assert said.endswith("\n")
        assert len(said.splitlines()) == 1, said
        assert not set(said) & set("\x1b\x00\u202e")


@given(NASTY)
def test_an_exception_cannot_either(message):
    def write(log):
        try:
            raise ValueError(message)
        except ValueError:
            log.exception("broken")

    for log_format in ("json", "text"):
        assert len(logged(log_format, write).splitlines()) == 1


@given(NASTY)
def test_nor_can_a_library_that_logs_what_it_was_sent(message):
    for log_format in ("json", "text"):
        said = logged(log_format, lambda _: logging.getLogger("kafka").error("refused: %s", message))
        assert len(said.splitlines()) == 1


@given(st.text(max_size=40))
def test_json_lines_hold_event_level_time_and_values(value):
    (line,) = logged("json", lambda log: log.warning("happened", what=value, count=3)).splitlines()
    found = json.loads(line)
    assert (found["event"], found["level"], found["count"]) == ("happened", "warning", 3)
    assert found["timestamp"].endswith("Z")
    assert found["what"] == console.sanitise(value)


@pytest.mark.parametrize(
    ("given_format", "section", "is_json"),
    [(None, "json", True), (None, "text", False), ("text", "json", False), ("json", "text", True)],
)
def test_the_command_line_decides_before_the_yaml(given_format, section, is_json, capsys):
    take_log_format(given_format)
    settle_logging(Logging(format=section))
    structlog.get_logger("longwatch.test").info("happened")
    assert capsys.readouterr().err.startswith("{") is is_json


def test_the_level_of_the_yaml_is_the_least_that_is_written(capsys):
    take_log_format(None)
    settle_logging(Logging(level="error"))
    log = structlog.get_logger("longwatch.test")
    log.warning("no")
    log.error("yes")
    assert "yes" in (said := capsys.readouterr().err)
    assert "no" not in said.split()


def test_a_worker_logs_as_its_yaml_says(tmp_path, capfd):
    text = (HOME / "demo.yaml").read_text().replace("bundle: bundle", f"bundle: {HOME / 'bundle'}")
    (tmp_path / "demo.log").write_text("")
    (tmp_path / "p.yaml").write_text(text + "logging: {format: json}\n")
    assert main(["run", str(tmp_path / "p.yaml")]) == 0
    events = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert events[0] == "started"
    assert events[-1] == "stopped"
