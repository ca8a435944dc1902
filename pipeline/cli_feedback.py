"""The verbs for what people say of alerts: `feedback`."""

from pathlib import Path
from typing import Annotated

import typer

from longwatch.pipeline.cli_command import ConfigPath, Settings, epilog, execute, overrides

feedback = typer.Typer(
    name="feedback",
    help="Silence false alarms, and see what is silent.",
    short_help="Silence false alarms, and see what is silent.",
    epilog=epilog("longwatch feedback false-positive pipeline.yaml 68d3ea35 --for 7d"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@feedback.command(
    "false-positive",
    short_help="Silence the pattern of an alert.",
    epilog=epilog("longwatch feedback false-positive pipeline.yaml 68d3ea35 --for 7d --entities 'web-*'"),
)
def false_positive(
    context: typer.Context,
    config: ConfigPath,
    alert_id: Annotated[str, typer.Argument(metavar="ALERT_ID", help="Its id, or the first characters of it.")],
    settings: Settings = None,
    duration: Annotated[str | None, typer.Option("--for", help="How long, such as 12h or 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="Until which event time, ISO 8601, instead of --for.")] = None,
    entities: Annotated[
        list[str] | None, typer.Option(help="Globs of entities; its own by default. Repeatable.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who read the list.")] = "",
    alert: Annotated[
        Path | None, typer.Option(help="File with the alert's JSON, - for standard input, instead of looking for it.")
    ] = None,
) -> int:
    """Silence alerts that nothing carries but what carries this one, for some entities and time.

    A running worker heeds it within a second; silenced messages go to an output of their own.
    """
    options = {"duration": duration, "until": until, "entities": entities or [], "reason": reason, "alert": alert}
    return execute(context, "feedback_mark", config=config, overrides=overrides(settings), alert_id=alert_id, **options)


@feedback.command(
    "list", short_help="List what is silent.", epilog=epilog("longwatch feedback list pipeline.yaml --all")
)
def list_marks(
    context: typer.Context,
    config: ConfigPath,
    settings: Settings = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those taken back or replaced.")] = False,
) -> int:
    """List rules and marks: whose alerts are silent, until when, which templates, and who said so."""
    return execute(context, "feedback_list", config=config, overrides=overrides(settings), everything=everything)


@feedback.command(
    "withdraw",
    short_help="Take a mark back.",
    epilog=epilog("longwatch feedback withdraw pipeline.yaml m-4f0c2a9b71d8"),
)
def withdraw(
    context: typer.Context,
    config: ConfigPath,
    mark_id: Annotated[str, typer.Argument(metavar="MARK_ID", help="Its id, as listed.")],
    settings: Settings = None,
) -> int:
    """Take a mark back: a running worker raises its pattern again within a second."""
    return execute(context, "feedback_withdraw", config=config, overrides=overrides(settings), mark_id=mark_id)


@feedback.command(
    "export",
    short_help="Write marks for a backtest.",
    epilog=epilog("longwatch feedback export pipeline.yaml --out marks.json"),
)
def export(
    context: typer.Context,
    config: ConfigPath,
    settings: Settings = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("marks.json"),
) -> int:
    """Write all marks and the offsets at which each took effect, for `backtest --marks`."""
    return execute(context, "feedback_export", config=config, overrides=overrides(settings), out=out)
