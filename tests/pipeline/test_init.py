import pytest

from longwatch.pipeline.commands.init import init, starter
from longwatch.pipeline.config import config_from, load_config
from longwatch.pipeline.errors import InputError, UsageError
from longwatch.pipeline.yaml_document import parse_yaml

FORMATS = ("text", "json", "otel", "rfc5424", "rfc3164")
SOURCES = ("kafka", "files", "stdin")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("format_", FORMATS)
def test_every_starter_validates_as_it_is(format_: str, source: str, tmp_path):
    config = config_from(parse_yaml(starter(format_, source), "pipeline.yaml"), tmp_path)
    assert (config.format.kind, config.source.kind) == (format_, source)
    assert config.sink.kind == ("kafka" if source == "kafka" else "embedded")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("format_", FORMATS)
def test_what_a_starter_comments_out_is_valid_too(format_: str, source: str, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGWATCH_KAFKA_PASSWORD", "x")
    lines = starter(format_, source).splitlines()
    options = [line for line in lines if line.lstrip().startswith(("# client:", "#   s", "# as_topic", "# - {"))]
    assert len(options) == {"kafka": 7, "files": 3, "stdin": 2}[source]
    uncommented = [line.replace("# ", "", 1) if line in options else line for line in lines]
    text = "\n".join(uncommented).replace("masks: []", "masks:").replace("rules: []", "rules:")
    config = config_from(parse_yaml(text, "pipeline.yaml"), tmp_path)
    assert config.templates.masks[0].name == "ORDER"
    assert config.thresholds.rules[0].name == "payments"


def test_lines_are_at_most_120_characters():
    for format_ in FORMATS:
        for source in SOURCES:
            assert max(map(len, starter(format_, source).splitlines())) <= 120


def test_init_makes_the_folder_and_says_what_is_next(tmp_path, capsys):
    init(tmp_path / "a" / "b", "json", "kafka", force=False)
    target = tmp_path / "a" / "b" / "pipeline.yaml"
    assert load_config(target).format.kind == "json"
    assert f"longwatch validate {target}" in capsys.readouterr().out


def test_init_never_overwrites_unless_told(tmp_path):
    target = tmp_path / "pipeline.yaml"
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists"):
        init(tmp_path, "json", "kafka", force=False)
    assert target.read_text(encoding="utf-8") == "mine"
    init(tmp_path, "json", "kafka", force=True)
    assert load_config(target).format.kind == "json"


def test_a_folder_that_cannot_be_made_is_an_error_with_its_path(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"file/x/pipeline\.yaml: cannot write"):
        init(tmp_path / "file" / "x", "json", "kafka", force=False)
