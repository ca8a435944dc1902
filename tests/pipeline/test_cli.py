import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from longwatch.pipeline import cli_command
from longwatch.pipeline.cli import main

VERBS = (
    "demo",
    "init",
    "validate",
    "train",
    "run",
    "relay",
    "dlq",
    "backtest",
    "explain",
    "feedback",
    "bench",
    "verify",
    "doctor",
    "top",
    "export",
    "optimize",
    "bundle",
    "schema",
    "version",
)
CONSOLE = Path(sys.executable).with_name("longwatch")


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """Puts a verb's module in place: what the verb does is the test's, how it is called and reported is ours."""

    def install(verb: str, body: str) -> None:
        (tmp_path / f"stub_{verb}.py").write_text(body, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(cli_command, "import_module", lambda name: __import__(f"stub_{name.rpartition('.')[2]}"))
        monkeypatch.delitem(sys.modules, f"stub_{verb}", raising=False)

    return install


@pytest.fixture
def config(tmp_path) -> Path:
    assert main(["init", str(tmp_path / "made")]) == 0
    return tmp_path / "made" / "pipeline.yaml"


def test_a_typo_is_one_line_a_caret_and_the_nearest_key_with_exit_code_2(config, capsys):
    config.write_text(config.read_text(encoding="utf-8").replace("  idle_gap:", "  idle_gep:"), encoding="utf-8")
    line = next(n for n, text in enumerate(config.read_text(encoding="utf-8").splitlines(), 1) if "idle_gep" in text)
    assert main(["validate", str(config)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {config}:{line}:3: unknown key `idle_gep` in `windows`",
        f"{line:>5} |   idle_gep: 30m",
        "      |   ^",
        "hint: did you mean `idle_gap`? valid keys: max_events, idle_gap, max_duration, overlap, allowed_lateness, "
        "idle_timeout",
    ]


def test_the_console_script_gives_the_same(config):
    text = config.read_text(encoding="utf-8").replace("windows:", "windws:")
    config.write_text(text, encoding="utf-8")
    line = text[: text.index("windws:")].count("\n") + 1
    done = subprocess.run([CONSOLE, "validate", "pipeline.yaml"], cwd=config.parent, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: pipeline.yaml:{line}:1: unknown key `windws`\n")
    assert "did you mean `windows`?" in done.stderr
    assert "Traceback" not in done.stderr


def test_several_mistakes_are_counted(config, capsys):
    text = (
        config.read_text(encoding="utf-8").replace("idle_gap: 30m", "idle_gap: 30").replace("top_events", "topevents")
    )
    config.write_text(text, encoding="utf-8")
    assert main(["validate", str(config)]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == 2
    assert err.endswith("2 errors\n")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example_and_the_exit_codes(verb: str, capsys):
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"longwatch {verb}" in out.split("Example:")[1]
    for code in ("0 done", "2 configuration", "75 fatal", "76 fenced", "130 interrupted"):
        assert code in out


def test_the_help_lists_every_verb_in_full(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^  (\w+)  +[A-Z]", out, re.MULTILINE) == list(VERBS)
    assert "..." not in out.split("Commands:")[1]
    assert "--debug" in out


def test_help_loads_nothing_heavy():
    heavy = ("polars", "pydantic", "numpy", "ruamel", "torch", "kafka", "structlog", "rich.console")
    code = (
        "import sys; from longwatch.pipeline.cli import main; main(['--help']); sys.stderr.write(repr([*sys.modules]))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert [name for name in heavy if f"'{name}'" in loaded] == []


def test_no_arguments_print_the_help_with_exit_code_2(capsys):
    assert main([]) == 2
    assert "Usage: longwatch" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vaildate"], "No such command 'vaildate'"),
        (["validate"], "Missing argument"),
        (["run", "a.yaml", "--nope"], "No such option"),
        (["init", "--format", "xml"], "Invalid value"),
        (["run", "a.yaml", "--max-seconds", "-1"], "Invalid value"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str], message: str, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_an_override_needs_a_value(config, capsys):
    assert main(["validate", str(config), "--set", "windows.idle_gap"]) == 2
    assert "expected KEY=VALUE" in capsys.readouterr().err


def test_overrides_reach_the_configuration(config, capsys):
    assert main(["validate", str(config), "--set", "windows.idle_gap=7m", "--set", "pipeline=other"]) == 0
    out = capsys.readouterr().out
    assert "a pause of 7m" in out
    assert "other, digest" in out


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        ("errors.FencedError('another worker took over', 'start again')", 76, ["error: another", "hint: start again"]),
        ("errors.BrokerError('no broker')", 1, ["error: no broker"]),
        ("errors.ConfigError('wrong', file='a.yaml', line=3, column=4)", 2, ["error: a.yaml:3:4: wrong"]),
        ("KeyboardInterrupt()", 130, []),
        ("ZeroDivisionError('by zero')", 1, ["error: unexpected ZeroDivisionError: by zero", "run again with --debug"]),
        ("ModuleNotFoundError('no torch', name='torch')", 2, ["needs `torch`", "longwatch[train]"]),
        ("ModuleNotFoundError('no foo', name='foo')", 1, ["unexpected ModuleNotFoundError"]),
        ("scorer.BundleError('/b: bad digest; copy it again')", 1, ["error: /b: bad digest; copy it again"]),
    ],
)
def test_an_error_is_a_line_and_its_exit_code(stub, capsys, raised: str, code: int, words: list[str]):
    imports = "from longwatch.pipeline import errors\n" + "from longwatch.model import scorer\n" * ("scorer" in raised)
    stub("run", f"{imports}def run(**options):\n    raise {raised}\n")
    assert main(["run", "a.yaml"]) == code
    err = capsys.readouterr().err
    for word in words:
        assert word in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["--debug", "run", "a.yaml"], ["run", "a.yaml", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(stub, capsys, arguments: list[str]):
    stub("run", "def run(**options):\n    raise ZeroDivisionError('by zero')\n")
    assert main(arguments) == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_a_log_line_carries_into_an_error_cannot_steer_the_terminal(stub, capsys):
    stub("run", "def run(**options):\n    raise ValueError('\\x1b[2J\\u202e' + 'x')\n")
    main(["run", "a.yaml"])
    assert "\\x1b[2J\\u202ex" in capsys.readouterr().err


def test_a_number_a_verb_returns_is_the_exit_code(stub):
    stub("run", "def run(**options):\n    return 3\n")
    assert main(["run", "a.yaml"]) == 3


CALLS = [
    (
        ["run", "a.yaml", "--until-end", "--instance", "w1", "--max-seconds", "2.5", "--set", "a.b=c=d"],
        {
            "config": Path("a.yaml"),
            "overrides": {"a.b": "c=d"},
            "until_end": True,
            "instance": "w1",
            "max_seconds": 2.5,
        },
    ),
    (
        ["backtest", "a.yaml", "x.log", "y.log", "--start", "2026-01-01", "--labels", "l.csv", "--out", "o"],
        {
            "config": Path("a.yaml"),
            "overrides": {},
            "files": [Path("x.log"), Path("y.log")],
            "start": "2026-01-01",
            "end": None,
            "labels": Path("l.csv"),
            "out": Path("o"),
            "marks": None,
            "engine": "local",
            "processes": None,
        },
    ),
    (
        ["train", "a.yaml", "--out", "b", "--exclude-entities", "e.txt", "--train-config", "t.yaml"],
        {
            "config": Path("a.yaml"),
            "overrides": {},
            "model_config": None,
            "train_config": Path("t.yaml"),
            "out": Path("b"),
            "exclude_entities": Path("e.txt"),
            "until": None,
        },
    ),
    *(
        (
            [verb, "a.yaml", "--json", "--set", "a.b=c"],
            {"config": Path("a.yaml"), "overrides": {"a.b": "c"}, "as_json": True},
        )
        for verb in ("verify", "doctor")
    ),
    (["export", "b", "--out", "m.onnx"], {"bundle": Path("b"), "out": Path("m.onnx"), "golden": None}),
    (["demo", "--seed", "3", "--days", "2", "--out", "d"], {"seed": 3, "days": 2, "out": Path("d")}),
]


@pytest.mark.parametrize(("arguments", "expected"), CALLS, ids=lambda case: case[0] if isinstance(case, list) else "")
def test_a_verb_is_called_with_what_was_written(stub, capsys, arguments: list[str], expected: dict[str, object]):
    stub(arguments[0], f"def {arguments[0]}(**options):\n    print(sorted(options.items()))\n")
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{sorted(expected.items())}\n"


@pytest.mark.parametrize("verb", ["init", "validate", "schema"])
def test_the_verbs_that_are_here_take_what_the_command_line_gives(verb: str, config, capsys):
    arguments = {"init": ["--force", str(config.parent)], "validate": [str(config)], "schema": []}
    assert main([verb, *arguments[verb]]) == 0
    assert capsys.readouterr().out


def test_the_schema_of_configurations_accepts_what_init_writes(config, capsys):
    from jsonschema import Draft202012Validator
    from ruamel.yaml import YAML

    assert main(["schema", "config"]) == 0
    schema = json.loads(capsys.readouterr().out)
    validator = Draft202012Validator(schema)
    written = YAML(typ="safe").load(config.read_text(encoding="utf-8"))
    validator.validate(written)
    assert not validator.is_valid({**written, "windws": {}})
    assert not validator.is_valid({**written, "windows": {"idle_gap": "30"}})


def test_an_unknown_log_format_is_refused(config, capsys):
    assert main(["validate", str(config), "--log-format", "xml"]) == 2
    assert "expected auto, text or json" in capsys.readouterr().err


def test_what_follows_two_dashes_is_no_option_of_ours(stub, capsys):
    stub("export", "def export(**options):\n    print(options['bundle'])\n")
    assert main(["export", "--out", "x", "--", "--debug"]) == 0
    assert capsys.readouterr().out == "--debug\n"
