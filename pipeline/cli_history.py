"""The verbs that look back: `backtest` and `explain`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from longwatch.pipeline.cli_command import ConfigPath, Settings, execute, overrides


def backtest(
    context: typer.Context,
    config: ConfigPath,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Instead of the source.")] = None,
    settings: Settings = None,
    start: Annotated[str | None, typer.Option(help="First event time, ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option(help="Event time to stop before, ISO 8601.")] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV of known incidents to compare with.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for alerts and report.")] = Path("backtest"),
    marks: Annotated[Path | None, typer.Option(help="Marks of `feedback export`, to heed where they were.")] = None,
    engine: Annotated[
        str, typer.Option(help="local, processes or ray: who replays; what is written is equal.")
    ] = "local",
    processes: Annotated[int | None, typer.Option(min=1, help="How many, for processes and ray.")] = None,
) -> int:
    """Replay history through the same code and report the alerts that would have been raised."""
    options: dict[str, Any] = {"files": files or [], "start": start, "end": end, "labels": labels, "out": out}
    options |= {"marks": marks, "engine": engine, "processes": processes}
    return execute(context, "backtest", config=config, overrides=overrides(settings), **options)


def explain(
    context: typer.Context,
    alert_id: Annotated[str, typer.Argument(metavar="ALERT_ID", help="Its id, or the first characters of it.")],
    folder: Annotated[Path, typer.Option("--backtest", help="Folder of a backtest over its time.")] = Path("backtest"),
) -> int:
    """Say what was expected instead, and on which other events the score hangs; asks the bundle of a backtest."""
    return execute(context, "explain", alert_id=alert_id, folder=folder)
