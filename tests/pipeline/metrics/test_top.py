"""`longwatch top` shows what the endpoint says, and nothing that a label could do to a terminal."""

import io

import pytest
from rich.console import Console

from longwatch.pipeline.cli import main
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.commands.top import top
from longwatch.pipeline.metrics.opened import worker_metrics
from longwatch.pipeline.metrics.scrape import Scrape
from longwatch.pipeline.metrics.view import Moment, screen
from support.scraping import metrics_config, scrape_of


def drawn(before: Moment | None, now: Moment) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(screen(before, now))
    return console.file.getvalue()


def test_it_prints_one_screen_where_there_is_no_terminal(opened, capsys):
    opened.collectors["longwatch_records_total"].inc(1000)
    opened.collectors["longwatch_alerts_total"].labels("default", "event", "open").inc(3)
    opened.collectors.only("longwatch_lag_records", {("logs", "0"): 5.0, ("logs", "1"): 12_345.0})
    assert main(["top", f"http://127.0.0.1:{opened.port}"]) == 0
    said = capsys.readouterr().out
    assert "worker demo w1" in said
    assert "not ready: the group has assigned nothing yet" in said
    assert said.index("logs[1]") < said.index("logs[0]")
    assert "12,345" in said
    assert [line.split() for line in said.splitlines() if line.startswith("default")] == [
        ["default", "event", "open", "3"]
    ]


def test_rates_are_between_two_looks_and_a_restart_begins_anew():
    def moment(records: int, start: float, at: float) -> Moment:
        return Moment(Scrape(f"process_start_time_seconds {start}\nlongwatch_records_total {records}\n"), at)

    assert "100.0" in drawn(moment(1000, 5.0, 10.0), moment(1200, 5.0, 12.0))
    assert "60.0" in drawn(moment(1000, 5.0, 10.0), moment(120, 11.0, 12.0))
    assert "200.0" in drawn(None, moment(1000, 5.0, 10.0))


def test_a_label_cannot_write_to_the_terminal(opened):
    opened.collectors.only("longwatch_lag_records", {("evil\x1b[2J\u202e", "0"): 1.0})
    said = drawn(None, Moment(scrape_of(opened.collectors.registry), 10.0, ["\x1b]0;owned\x07"]))
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "evil\\x1b[2J\\u202e" in said


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:1", "`metrics:` section"),
        ("127.0.0.1:9464", "begins with http://"),
        ("file:///etc", "begins with http://"),
    ],
)
def test_an_address_without_an_endpoint_is_a_line_and_a_hint(address, why, capsys):
    assert main(["top", address]) == 1
    said = capsys.readouterr().err
    assert why in said
    assert "hint: " in said


def test_a_token_that_is_missing_or_wrong_is_said(monkeypatch, capsys):
    monkeypatch.setenv("METRICS_TOKEN", "a-token-that-is-long-enough")
    with worker_metrics(metrics_config(token_env="METRICS_TOKEN"), ManualClock(), "w1") as opened:
        address = f"http://127.0.0.1:{opened.port}"
        assert main(["top", address]) == 1
        assert "--token-env" in capsys.readouterr().err
        assert main(["top", address, "--token-env", "NO_SUCH_VARIABLE"]) == 2
        assert main(["top", address, "--token-env", "METRICS_TOKEN"]) == 0


def test_on_a_terminal_it_looks_again_until_interrupted(opened, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        opened.collectors["longwatch_records_total"].inc(10)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt):
        top(f"http://127.0.0.1:{opened.port}", 0.5, False, None, sleep)
    assert looks == [0.5] * 3
