"""`longwatch init app.log`: the files it writes and the commands it names work as they are."""

import shlex
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from longwatch.pipeline.cli import main
from longwatch.pipeline.commands.bounded import bounded_source
from longwatch.pipeline.config import load_config
from longwatch.pipeline.decode import decoder_for
from support.demo import demo_frame


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "company.log"
    path.write_text("".join(f"{line}\n" for line in demo_frame((9, 13))["line"]))
    return path


def test_init_train_and_backtest_of_an_unknown_log_need_no_edit(log, capsys):
    out = log.parent / "watch"
    assert main(["init", str(log), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    commands = [shlex.split(line)[1:] for line in said.splitlines() if line.startswith("  longwatch ")]
    assert [words[0] for words in commands] == ["train", "backtest"]
    (out / "train.yaml").write_text((out / "train.yaml").read_text().replace("max_steps: 300", "max_steps: 20"))
    assert main(["validate", str(out / "pipeline.yaml")]) == 0
    for words in commands:
        assert main(words) == 0
    windows = pl.read_parquet(out / "backtest" / "windows.parquet")
    assert 0 < windows["events"].sum() < len(demo_frame((9, 13))) / 2
    assert "dead_letters" in (out / "backtest" / "summary.json").read_text()
    assert (out / "backtest" / "report.html").stat().st_size > 10_000


def test_the_yaml_says_why_and_what_else_there_is(log):
    out = log.parent / "watch"
    assert main(["init", str(log), "--out", str(out)]) == 0
    text = (out / "pipeline.yaml").read_text()
    assert "reads 100.0% of the lines looked at" in text
    assert "# Whose behaviour is modelled. Chosen: the host in the header" in text
    assert "# entity: {group: service}" in text
    config = load_config(out / "pipeline.yaml")
    assert (config.pipeline, config.entity.group) == ("company", "host")
    assert config.source.files is not None
    assert [path.resolve() for path in config.source.files.paths] == [log.resolve()]


def test_lines_out_of_order_get_the_time_they_need(tmp_path):
    lines = [f"2026-03-27T13:{at // 60:02d}:{at % 60:02d}Z WARN web-1 nginx: slow" for at in range(600)]
    swapped = [line for at in range(0, 600, 20) for line in reversed(lines[at : at + 20])]
    (tmp_path / "app.log").write_text("".join(f"{line}\n" for line in swapped))
    assert main(["init", str(tmp_path / "app.log"), "--out", str(tmp_path / "watch")]) == 0
    assert load_config(tmp_path / "watch" / "pipeline.yaml").windows.allowed_lateness.ms == 19_000


def test_a_log_without_years_that_passes_new_year_stays_in_order(tmp_path):
    days = [*(f"Nov {day}" for day in range(10, 30)), *(f"Dec {day}" for day in range(10, 30)), "Jan 10", "Feb 20"]
    lines = [f"{day} 06:{at:02d}:20 combo sshd[1]: session {at} opened" for day in days for at in range(20)]
    (tmp_path / "linux.log").write_text("".join(f"{line}\n" for line in lines))
    assert main(["init", str(tmp_path / "linux.log"), "--out", str(tmp_path / "watch")]) == 0
    config = load_config(tmp_path / "watch" / "pipeline.yaml")
    assert (config.source.files.written.month, config.source.files.written.day) == (2, 20)
    assert config.windows.allowed_lateness.ms == 0
    with closing(bounded_source(config)) as source:
        times = decoder_for(config.format, config.entity).decode(source.poll()[0].frame).events["event_time_ms"]
    assert times.is_sorted()
    assert times.max() - times.min() < 110 * 86_400_000


def test_it_never_overwrites_unless_told_and_says_when_a_log_is_too_short(log, tmp_path, capsys):
    out = tmp_path / "watch"
    assert main(["init", str(log), "--out", str(out)]) == 0
    assert main(["init", str(log), "--out", str(out)]) == 2
    assert main(["init", str(log), "--out", str(out), "--force"]) == 0
    log.write_text("".join(f"{line}\n" for line in log.read_text().splitlines()[:50]))
    assert main(["init", str(log), "--out", str(tmp_path / "other")]) == 1
    assert "too few to learn from" in capsys.readouterr().err
