"""What a user can get wrong is one line that says so and a hint, never an unexpected error or a wrong success."""

import sys

import pytest

from longwatch.pipeline.cli import main
from support.demo import HOME, demo_frame


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "demo.yaml").write_text((HOME / "demo.yaml").read_text())
    (tmp_path / "demo.log").write_text("".join(f"{line}\n" for line in demo_frame((9, 10))["line"].head(20)))
    return tmp_path


def refused(capsys, *words: object) -> str:
    assert main([str(word) for word in words]) in (1, 2)
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "hint:" in said
    assert "unexpected" not in said
    return said


def test_training_from_standard_input_is_refused(folder, capsys):
    text = (folder / "demo.yaml").read_text().replace("files:\n    paths: [demo.log]", "stdin: {name: pipe}")
    (folder / "stdin.yaml").write_text(text)
    assert "read once" in refused(capsys, "train", folder / "stdin.yaml", "--out", folder / "made")


def test_a_list_of_entities_that_is_no_text_is_named(folder, capsys):
    (folder / "entities").write_bytes(b"\xff\xfe\xd8")
    words = ("--out", folder / "made", "--exclude-entities", folder / "entities")
    assert "entities" in refused(capsys, "train", folder / "demo.yaml", *words)


def test_a_backtest_into_a_file_is_refused_before_it_runs(folder, capsys):
    bundle = f"bundle={HOME / 'bundle'}"
    for words in (("--out", folder / "demo.log"), ("--out", folder / "out", "--start", "yesterday")):
        said = refused(capsys, "backtest", folder / "demo.yaml", "--set", bundle, *words)
        assert "replaying" not in said


def test_a_demo_into_a_file_is_refused(folder, capsys):
    assert "is a file" in refused(capsys, "demo", "--out", folder / "demo.log")


def test_closed_standard_input_is_named(folder, capsys, monkeypatch):
    text = (folder / "demo.yaml").read_text().replace("files:\n    paths: [demo.log]", "stdin: {name: pipe}")
    (folder / "stdin.yaml").write_text(text)
    monkeypatch.setattr(sys, "stdin", None)
    assert "closed" in refused(capsys, "run", folder / "stdin.yaml", "--set", f"bundle={HOME / 'bundle'}")


@pytest.mark.parametrize("setting", ["windows.max_duration=1d", "windows.idle_timeout=1s"])
def test_files_cut_since_the_last_run_are_not_taken_for_read(folder, capsys, setting):
    """With idle_timeout no window stays open at the end, and the next run begins right there."""
    words = ("run", str(folder / "demo.yaml"), "--set", f"bundle={HOME / 'bundle'}", "--set", setting)
    assert main(list(words)) == 0
    (folder / "demo.log").write_text("".join((folder / "demo.log").read_text().splitlines(keepends=True)[:5]))
    capsys.readouterr()
    assert "and now there are 5" in refused(capsys, *words)


def test_a_label_table_may_have_other_columns_before_the_entity(folder, capsys):
    (folder / "labels.csv").write_text("id,entity,label\n1,vpn-01,attack\n")
    words = ("--set", f"bundle={HOME / 'bundle'}", "--labels", folder / "labels.csv", "--out", folder / "out")
    assert main([str(word) for word in ("backtest", folder / "demo.yaml", *words)]) == 0
    assert "judged" in capsys.readouterr().out
