"""The command line: reads arguments, calls one command, turns errors into a line, a hint and an exit code.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from longwatch.pipeline.cli_bench import bench
from longwatch.pipeline.cli_bundle import bundle as bundle_verbs
from longwatch.pipeline.cli_check import doctor, top, verify
from longwatch.pipeline.cli_command import ConfigPath, Instance, Settings, epilog, execute
from longwatch.pipeline.cli_command import overrides as overrides_of
from longwatch.pipeline.cli_deploy import export, optimize
from longwatch.pipeline.cli_feedback import feedback
from longwatch.pipeline.cli_history import backtest, explain
from longwatch.pipeline.cli_relay import dlq, relay
from longwatch.pipeline.cli_schema import schema
from longwatch.pipeline.console import write_error, write_line
from longwatch.pipeline.errors import BundleUnusableError, ConfigFileError, LongwatchError, UsageError

INTERRUPTED = 130

_EXTRAS = {
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "onnxruntime": "cpu",
    "sklearn": "bench",
    "matplotlib": "bench",
    "starlette": "web",
    "uvicorn": "web",
    "opentelemetry": "otel",
}

# Typer carries its own copy of click since 0.20, so the base of its usage errors is found, not imported.
_PARSER_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


@dataclass(frozen=True)
class Globals:
    """Options that any verb takes; read without typer, whose own reading loads pydantic even for `--help`."""

    debug: bool
    log_format: str


class FormatKind(StrEnum):
    """Formats that `init` can start from."""

    text = "text"
    json = "json"
    otel = "otel"
    rfc5424 = "rfc5424"
    rfc3164 = "rfc3164"


class SourceKind(StrEnum):
    """Sources that `init` can start from."""

    kafka = "kafka"
    files = "files"
    stdin = "stdin"


_ANYWHERE = """\b
Options of every command:
  --debug                        show tracebacks
  --log-format auto|text|json    log lines on standard error (or LONGWATCH_LOG_FORMAT)

\b
Start with:
  longwatch demo
  longwatch init && longwatch validate pipeline.yaml"""


# Verbs that have verbs of their own, and which verb each stands behind.
_AFTER = {"dlq": "relay", "feedback": "explain", "bundle": "optimize"}


class _Verbs(TyperGroup):
    """The verbs in the order of a pipeline's life; typer would put those with verbs of their own first."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        groups = [name for name in names if isinstance(self.commands[name], TyperGroup)]
        ordered = [name for name in names if name not in groups]
        for group in groups:
            ordered.insert(ordered.index(_AFTER[group]) + 1, group)
        return ordered


app = typer.Typer(
    name="longwatch",
    cls=_Verbs,
    help="Long event-log streams in, calibrated alerts out.",
    epilog=_ANYWHERE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script: runs one command and gives its exit code."""
    given, options = _take_globals(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, prog_name="longwatch", standalone_mode=False, obj=options)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except _PARSER_ERROR as error:
        error.show(file=sys.stderr)
        return int(error.exit_code)
    except Exception as error:
        return _report(error, options.debug)
    return code if isinstance(code, int) else 0


@app.command(
    short_help="Watch a made-up company's log and show the alerts.",
    epilog=epilog("longwatch demo --days 7 --out demo"),
)
def demo(
    context: typer.Context,
    seed: Annotated[int, typer.Option(help="Seed of the made-up company.")] = 7,
    days: Annotated[int | None, typer.Option(min=1, help="Days of log to make.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for log, alerts and report.")] = None,
) -> int:
    """Make up a company's log with known incidents, watch it, and show the alerts; no broker, no GPU."""
    return execute(context, "demo", seed=seed, days=days, out=out)


@app.command(
    short_help="Write a pipeline.yaml to start from.",
    epilog=epilog("longwatch init app.log --out watch"),
)
def init(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR|LOGFILE]", help="Where pipeline.yaml goes, or a log file to look at.")
    ] = Path("."),
    format_: Annotated[FormatKind, typer.Option("--format", help="What a record looks like.")] = FormatKind.text,
    source: Annotated[SourceKind, typer.Option(help="Where records come from.")] = SourceKind.files,
    out: Annotated[Path, typer.Option(help="Of a log file: where pipeline.yaml goes.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Overwrite pipeline.yaml.")] = False,
) -> int:
    """Write a commented pipeline.yaml to start from; of a log file, one that reads it, with the reasons."""
    options = {"format_": format_.value, "source": source.value, "force": force, "out": out}
    return execute(context, "init", folder=folder, **options)


@app.command(
    short_help="Check a configuration and say what it means.",
    epilog=epilog("longwatch validate pipeline.yaml --set windows.idle_gap=5m"),
)
def validate(
    context: typer.Context,
    config: ConfigPath,
    settings: Settings = None,
    show: Annotated[bool, typer.Option("--show", help="Print the whole configuration, without secrets.")] = False,
) -> int:
    """Check a configuration and say what it means; reads no record and asks no broker."""
    return execute(context, "validate", config=config, overrides=overrides_of(settings), show=show)


@app.command(
    short_help="Learn a bundle from records.", epilog=epilog("longwatch train pipeline.yaml --out bundles/app")
)
def train(
    context: typer.Context,
    config: ConfigPath,
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")] = Path("bundle"),
    settings: Settings = None,
    model_config: Annotated[Path | None, typer.Option(help="YAML of the network.")] = None,
    train_config: Annotated[Path | None, typer.Option(help="YAML of the training.")] = None,
    exclude_entities: Annotated[Path | None, typer.Option(help="File of entities to leave out, one to a line.")] = None,
    until: Annotated[str | None, typer.Option(help="Event time to stop before, ISO 8601.")] = None,
) -> int:
    """Learn templates, network and calibration from the records of a configuration, and write a bundle."""
    options = {"model_config": model_config, "train_config": train_config, "exclude_entities": exclude_entities}
    return execute(context, "train", config=config, overrides=overrides_of(settings), out=out, until=until, **options)


@app.command(
    short_help="Read records, score them, raise alerts.",
    epilog=epilog("longwatch run pipeline.yaml --instance worker-1"),
)
def run(
    context: typer.Context,
    config: ConfigPath,
    settings: Settings = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the end of what is there now.")] = False,
    instance: Instance = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Stop after this many seconds.")] = None,
) -> int:
    """Read records, score them, raise alerts; goes on where the last run committed."""
    options = {"until_end": until_end, "instance": instance, "max_seconds": max_seconds}
    return execute(context, "run", config=config, overrides=overrides_of(settings), **options)


app.command(
    short_help="Deliver committed alerts to those who must know.",
    epilog=epilog("longwatch relay pipeline.yaml --instance relay-1"),
)(relay)
app.add_typer(dlq)


app.command(
    short_help="Replay history and report its alerts.",
    epilog=epilog("longwatch backtest pipeline.yaml old.log.zst --labels labels.csv"),
)(backtest)


app.command(short_help="Say why an alert was raised.", epilog=epilog("longwatch explain 68d3ea35 --backtest backtest"))(
    explain
)


app.add_typer(feedback)
app.command(
    short_help="Judge the detector beside cheap floors.", epilog=epilog("longwatch bench adfa_ld --data data --seeds 3")
)(bench)
app.command(
    short_help="Prove that no output is lost, double or changed.",
    epilog=epilog("longwatch verify pipeline.yaml --json"),
)(verify)
app.command(
    short_help="Look for what keeps a worker from running well.", epilog=epilog("longwatch doctor pipeline.yaml")
)(doctor)
app.command(short_help="Watch a running worker on the terminal.", epilog=epilog("longwatch top http://127.0.0.1:9464"))(
    top
)


app.command(
    short_help="Make a bundle's graphs for ONNX Runtime.",
    epilog=epilog("longwatch export bundles/app --out bundles/app-onnx --golden pipeline.yaml"),
)(export)


app.command(
    short_help="Find the fastest network that decides as well.",
    epilog=epilog("longwatch optimize bundles/app --golden pipeline.yaml --out bundles/app-fast"),
)(optimize)


app.add_typer(bundle_verbs)


app.command(short_help="Print a JSON Schema.", epilog=epilog("longwatch schema config > longwatch.schema.json"))(schema)


@app.command(epilog=epilog("longwatch version"))
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    write_line(f"longwatch {installed('longwatch')}")


def _take_globals(arguments: Sequence[str]) -> tuple[list[str], Globals]:
    """The arguments without `--debug` and `--log-format`, which may stand anywhere before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest, debug, log_format = [], False, os.environ.get("LONGWATCH_LOG_FORMAT", "")
    words = iter(arguments[:end])
    for word in words:
        if word == "--debug":
            debug = True
        elif word.split("=")[0] == "--log-format":
            log_format = word.partition("=")[2] or next(words, "")
        else:
            rest.append(word)
    return [*rest, *arguments[end:]], Globals(debug, log_format)


def _report(error: Exception, debug: bool) -> int:
    """Prints what happened, as far as its reader can act on it."""
    if debug:
        write_line("".join(traceback.format_exception(error)).rstrip(), sys.stderr)
    known = _as_known(error)
    if known is None:
        write_error(f"unexpected {type(error).__name__}: {error or 'no message'}".splitlines()[0])
        write_line("hint: run again with --debug for the traceback", sys.stderr)
        return 1
    problems = known.problems if isinstance(known, ConfigFileError) else (known,)
    for problem in problems:
        write_error(str(problem))
    if len(problems) > 1:
        write_line(f"{len(problems)} errors", sys.stderr)
    return known.exit_code


def _as_known(error: Exception) -> LongwatchError | None:
    """The error as one of ours; None for a bug. The model's errors are looked up only if it has been imported."""
    if isinstance(error, LongwatchError):
        return error
    scorer = sys.modules.get("longwatch.model.scorer")
    if scorer is not None and isinstance(error, (scorer.BundleError, scorer.ScorerUnavailableError)):
        return BundleUnusableError(str(error))
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        extra = _EXTRAS[error.name]
        return UsageError(f"this command needs `{error.name}`", f"pip install 'longwatch[{extra}]'")
    return None
