"""The verbs that look at a running pipeline and change nothing: `verify` and `doctor`."""

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
