"""What the declarations of all verbs share: their arguments, their help, and the call of what they do."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from longwatch.pipeline.console import take_log_format
from longwatch.pipeline.errors import UsageError

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The pipeline's YAML file.")]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key, such as windows.idle_gap=5m; repeatable."),
]
Instance = Annotated[
    str | None, typer.Option(help="Stable name of this worker, so that a restart takes its partitions back.")
]


def epilog(example: str) -> str:
    """Example and exit codes below a verb's help."""
    codes = (
        "0 done, 1 failed, 2 configuration or usage wrong,\n  75 fatal (start it again), "
        "76 fenced (again, but no two of one name),\n  130 interrupted"
    )
    return f"\b\nExample:\n  {example}\n\n\b\nExit codes:\n  {codes}"


def execute(context: typer.Context, verb: str, **arguments: Any) -> int:
    """Calls `longwatch.pipeline.commands.<verb>.<verb>`; what it returns, if a number, is the exit code."""
    log_format = context.obj.log_format or None
    if log_format not in (None, "auto", "text", "json"):
        raise UsageError(f"--log-format {log_format}: expected auto, text or json", "auto has colours on a terminal")
    take_log_format(log_format)
    code = getattr(import_module(f"longwatch.pipeline.commands.{verb}"), verb)(**arguments)
    return code if isinstance(code, int) else 0


def overrides(settings: list[str] | None) -> Mapping[str, str]:
    """{dotted key: YAML value} of the `--set` options."""
    pairs = [text.partition("=") for text in settings or []]
    for key, equals, _ in pairs:
        if not equals or not key:
            raise UsageError(f"--set {key}: expected KEY=VALUE", "for example --set windows.idle_gap=5m")
    return {key: value for key, _, value in pairs}
