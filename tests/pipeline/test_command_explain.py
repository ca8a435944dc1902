"""`longwatch explain`: an alert by its id, from the folder of a backtest."""

import json
from pathlib import Path

import polars as pl
import pytest

from longwatch.pipeline.cli import main
from support.demo import HOME, demo_frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("explain")
    (home / "old.log").write_text("".join(f"{line}\n" for line in demo_frame((12, 18))["line"]))
    assert main(["backtest", str(HOME / "demo.yaml"), str(home / "old.log"), "--out", str(home / "out")]) == 0
    return home / "out"


def alert_of(folder: Path, entity: str) -> str:
    table = pl.read_parquet(folder / "alerts.parquet").filter(pl.col("entity") == entity)
    return str(table["alert_id"][0])


def test_a_line_out_of_order_is_explained_by_what_was_expected_there(folder, capsys):
    assert main(["explain", alert_of(folder, "pay-eu-01"), "--backtest", str(folder)]) == 0
    out = capsys.readouterr().out
    instead = out.split("expected there:")[1].splitlines()[1]
    assert "settlement stage" in instead
    assert float(instead.split("%")[0]) > 50
    assert "every line of it is known: its place is the surprise" in out
    assert "That line's score hangs on" in out
    assert "The window's score hangs on" in out


def test_the_first_characters_of_an_id_are_enough_as_long_as_they_are_one_alerts(folder, capsys):
    whole = alert_of(folder, "pay-eu-01")
    assert main(["explain", whole[:12].upper(), "--backtest", str(folder)]) == 0
    assert f"alert {whole}, close: pay-eu-01" in capsys.readouterr().out
    assert main(["explain", "", "--backtest", str(folder)]) == 2
    assert "alerts begin so" in capsys.readouterr().err


def test_an_unknown_id_says_where_it_looked_and_what_to_do(folder, capsys):
    assert main(["explain", "feedfeed", "--backtest", str(folder)]) == 2
    err = capsys.readouterr().err
    assert f"feedfeed: no alert in {folder} has that id" in err
    assert "longwatch backtest" in err


def test_a_folder_without_a_backtest_is_named(tmp_path, capsys):
    assert main(["explain", "feed", "--backtest", str(tmp_path / "nowhere")]) == 1
    assert f"{tmp_path / 'nowhere'} holds no alerts of a backtest" in capsys.readouterr().err


def test_a_bundle_made_anew_since_is_not_asked(folder, tmp_path, capsys, monkeypatch):
    path = folder / "provenance.json"
    told = json.loads(path.read_text())
    monkeypatch.setitem(told, "bundle folder", str(tmp_path))
    before = path.read_text()
    path.write_text(json.dumps(told))
    assert main(["explain", alert_of(folder, "pay-eu-01"), "--backtest", str(folder)]) != 0
    path.write_text(before)
    assert str(tmp_path) in capsys.readouterr().err


def test_what_a_log_says_cannot_move_the_terminals_cursor(tmp_path, capsys):
    lines = demo_frame((9, 10))["line"].to_list()
    at, line = next((at, line) for at, line in enumerate(lines) if " db-01 " in line and at > 50)
    lines[at:at] = [line.split(": ")[0] + ": \x1b[2J\u202eowned"] * 20
    (tmp_path / "old.log").write_text("".join(f"{line}\n" for line in lines))
    assert main(["backtest", str(HOME / "demo.yaml"), str(tmp_path / "old.log"), "--out", str(tmp_path / "out")]) == 0
    table = pl.read_parquet(tmp_path / "out" / "alerts.parquet").filter(pl.col("message").str.contains("owned"))
    capsys.readouterr()
    assert main(["explain", str(table["alert_id"][0]), "--backtest", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[2J\\u202eowned" in out
    assert "\x1b" not in out
