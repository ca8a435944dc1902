"""The verbs that look at a running pipeline and change nothing: `verify`, `doctor` and `top`."""

from typing import Annotated

import typer

from longwatch.pipeline.cli_command import AsJson, ConfigPath, Settings, execute, overrides


def verify(context: typer.Context, config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> int:
    """Replay the input and compare: nothing skipped, no alert double, each as the replay gives it.

    Ends with 0 where that is proven, 1 where there are differences, 2 where it cannot be checked, and says why.
    """
    return execute(context, "verify", config=config, overrides=overrides(settings), as_json=as_json)


def doctor(context: typer.Context, config: ConfigPath, settings: Settings = None, as_json: AsJson = False) -> int:
    """Ask brokers, topics, group and bundle for what the worker needs; each answer says what to do next.

    Ends with 0 unless a check failed. Writes nothing but one empty transaction under an id of its own.
    """
    return execute(context, "doctor", config=config, overrides=overrides(settings), as_json=as_json)


def top(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where `metrics:` of the YAML serves.")
    ] = "http://127.0.0.1:9464",
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print once, with rates since the start.")] = False,
    token_env: Annotated[str | None, typer.Option(metavar="NAME", help="Variable that holds the token.")] = None,
) -> int:
    """Show a running worker or relay: what it reads, where its time goes, what is behind, and what it raises."""
    return execute(context, "top", address=address, interval=interval, once=once, token_env=token_env)
