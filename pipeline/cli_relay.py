"""The verbs beyond the alerts topic: `relay`, and `dlq` for what was put aside."""

from enum import StrEnum
from typing import Annotated

import typer

from longwatch.pipeline.cli_command import ConfigPath, Instance, Settings, epilog, execute, overrides


class Letters(StrEnum):
    """Whose dead letters."""

    worker = "worker"
    relay = "relay"


Whose = Annotated[Letters, typer.Option("--letters", help="Whose dead letters.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only with this reason; repeatable.")]
Partitions = Annotated[
    list[int] | None, typer.Option("--partition", min=0, help="Only of this partition of the input; repeatable.")
]
Positions = Annotated[
    list[str] | None, typer.Option("--at", metavar="TOPIC[P]@OFFSET", help="Only this letter, as listed; repeatable.")
]
Since = Annotated[str | None, typer.Option(help="Only those written since then, ISO 8601.")]

dlq = typer.Typer(
    name="dlq",
    help="Show dead letters, or put them back.",
    short_help="Show dead letters, or put them back.",
    epilog=epilog("longwatch dlq list pipeline.yaml --reason header_mismatch"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


def relay(
    context: typer.Context,
    config: ConfigPath,
    settings: Settings = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop when all of now is delivered.")] = False,
    instance: Instance = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Stop after this many seconds.")] = None,
) -> int:
    """Deliver committed alerts to webhooks, Alertmanager, Slack and mail, at least once, with an idempotency key."""
    options = {"until_end": until_end, "instance": instance, "max_seconds": max_seconds}
    return execute(context, "relay", config=config, overrides=overrides(settings), **options)


@dlq.command(
    "list",
    short_help="List dead letters.",
    epilog=epilog("longwatch dlq list pipeline.yaml --reason header_mismatch --since 2026-11-24"),
)
def list_letters(
    context: typer.Context,
    config: ConfigPath,
    settings: Settings = None,
    letters: Whose = Letters.worker,
    reason: Reasons = None,
    partition: Partitions = None,
    at: Positions = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="Most lines.")] = 100,
) -> int:
    """List dead letters: where each lies, why, which record it holds, and how that begins."""
    choice = {"reasons": reason or [], "partitions": partition or [], "positions": at or [], "since": since}
    options = {"letters": letters.value, "limit": limit, **choice}
    return execute(context, "dlq_list", config=config, overrides=overrides(settings), **options)


@dlq.command(
    "replay",
    short_help="Put dead letters' records back into a topic.",
    epilog=epilog("longwatch dlq replay pipeline.yaml --reason header_mismatch --dry-run"),
)
def replay_letters(
    context: typer.Context,
    config: ConfigPath,
    settings: Settings = None,
    letters: Whose = Letters.worker,
    reason: Reasons = None,
    partition: Partitions = None,
    at: Positions = None,
    since: Since = None,
    to: Annotated[str | None, typer.Option(metavar="TOPIC", help="Where to; the input topic by default.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    max_replays: Annotated[int, typer.Option(min=1, help="A record put back this often is left out.")] = 3,
) -> int:
    """Put the original bytes of chosen dead letters back into the input topic, or into another.

    The letters stay where they are: choosing them again puts them back again.
    """
    choice = {"reasons": reason or [], "partitions": partition or [], "positions": at or [], "since": since}
    options = {"letters": letters.value, "to": to, "everything": everything, "dry_run": dry_run, **choice}
    given = {"config": config, "overrides": overrides(settings), "max_replays": max_replays}
    return execute(context, "dlq_replay", **given, **options)
