"""What 25 typical mistakes say: each word of it is kept in `said/`, one file a mistake, to be read by a person.

`LONGWATCH_WRITE_SNAPSHOTS=1 pytest tests/pipeline/mistakes` writes them anew; read what changed before it is committed.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from longwatch.pipeline.cli import main
from support.demo import HOME
from support.mistakes import MISTAKES, NO_BUNDLE, YAML, Mistake

SAID = Path(__file__).parent / "said"


def said_by(mistake: Mistake, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    assert mistake.old in YAML
    (folder / "pipeline.yaml").write_text(YAML.replace(mistake.old, mistake.new, 1) if mistake.old else YAML)
    if mistake.name not in NO_BUNDLE:
        shutil.copytree(HOME / "bundle", folder / "bundle")
    mistake.also(folder)
    capsys.readouterr()
    code = main(list(mistake.command))
    captured = capsys.readouterr()
    return code, re.sub(r"[0-9a-f]{64}", "<sha256>", captured.err.replace(str(folder), "/folder"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_says_where_it_is_why_and_what_to_do(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LW_SET", "x")
    monkeypatch.setenv("COLUMNS", "100")
    code, said = said_by(mistake, tmp_path, capsys)
    text = f"$ longwatch {' '.join(mistake.command)}\n{said}exit {code}\n"
    path = SAID / f"{mistake.name.replace(' ', '_')}.txt"
    if os.environ.get("LONGWATCH_WRITE_SNAPSHOTS"):
        SAID.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
    assert code == mistake.exit_code
    assert "Traceback" not in said
    assert "hunter2" not in said


def test_every_snapshot_has_its_mistake_and_there_are_25():
    assert {path.stem for path in SAID.glob("*.txt")} == {mistake.name.replace(" ", "_") for mistake in MISTAKES}
    assert len(MISTAKES) >= 25


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_every_mistake_is_followed_by_what_to_do(mistake: Mistake):
    said = (SAID / f"{mistake.name.replace(' ', '_')}.txt").read_text()
    assert "hint:" in said or "Try 'longwatch" in said or "Did you mean" in said
    if mistake.old:
        assert re.search(r"pipeline\.yaml:\d+:\d+: ", said), said
        assert "^" in said or "a secret" in said
