import pytest

from longwatch.pipeline.commands.init import init
from longwatch.pipeline.commands.validate import validate
from longwatch.pipeline.config import load_config
from longwatch.pipeline.errors import ConfigError


@pytest.fixture
def config(tmp_path, capsys):
    init(tmp_path, "text", "files", force=False)
    capsys.readouterr()
    return tmp_path / "pipeline.yaml"


def test_the_summary_says_what_the_configuration_means(config, capsys):
    validate(config, {"thresholds.rules": "[{name: pay, match: {entity: 'p*'}, event: {quantile: 0.999}}]"})
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"{config} is valid"
    named = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()[1:]}
    assert list(named) == ["pipeline", "source", "format", "entity", "windows", "bundle", "thresholds", "sink"]
    assert "app.log (not there)" in named["source"]
    assert "groups timestamp, host, level, message" in named["format"]
    assert named["entity"] == "header group host"
    assert "4,096 events, 1d, a pause of 30m" in named["windows"]
    assert named["thresholds"].startswith(
        "pay: event above 0.999 of normal scores; default: event 1 false alarms a day"
    )
    assert named["sink"].endswith("alerts.jsonl and standard output")


def test_the_shown_configuration_loads_to_the_same(config, capsys):
    validate(config, {}, show=True)
    shown = config.with_name("shown.yaml")
    shown.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_config(shown) == load_config(config)


def test_a_bundle_that_is_not_there_yet_is_no_error(config, capsys):
    validate(config, {})
    assert "not there yet: `longwatch train` makes it" in capsys.readouterr().out


def test_a_damaged_bundle_is_an_error_of_the_configuration(config):
    (config.parent / "bundle").mkdir()
    (config.parent / "bundle" / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="bundle: ") as caught:
        validate(config, {})
    assert caught.value.file == str(config)


def test_warnings_are_printed(tmp_path, capsys):
    init(tmp_path, "rfc3164", "files", force=False)
    validate(tmp_path / "pipeline.yaml", {})
    assert "warning: timestamps have no year" in capsys.readouterr().out


def test_a_name_from_the_file_cannot_steer_the_terminal(config, capsys):
    validate(config, {"source.files.paths": '["\\e[2J.log"]'})
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[2J.log" in out
