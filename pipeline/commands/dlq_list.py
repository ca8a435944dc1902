"""`longwatch dlq list pipeline.yaml`: what was put aside, where it came from, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from longwatch.pipeline.alerts import iso_time
from longwatch.pipeline.commands.bounded import event_time_ms
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.console import write_line
from longwatch.pipeline.dead_letters import Choice, DeadLetter
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.kafka_letters import LetterBox
from longwatch.pipeline.kafka_worker import kafka_settings


def dlq_list(
    config: Path,
    overrides: Mapping[str, str],
    letters: str,
    reasons: Sequence[str],
    partitions: Sequence[int],
    positions: Sequence[str],
    since: str | None,
    limit: int,
) -> int:
    """Prints one line for each letter that the filters leave, oldest first in each partition."""
    loaded = load_config(config, overrides)
    choice = chosen(reasons, partitions, positions, since)
    topic = letters_topic(loaded, letters)
    with closing(LetterBox(kafka_settings(loaded), topic)) as box:
        found = (letter for letter in box.letters(choice.since_ms) if choice.means(letter))
        shown = 0
        for letter in islice(found, limit):
            write_line(line_of(letter))
            shown += 1
        more = next(found, None) is not None
    write_line(f"{shown:,} dead letters{'; there are more: raise --limit or narrow the filters' if more else ''}")
    return 0


def chosen(reasons: Sequence[str], partitions: Sequence[int], positions: Sequence[str], since: str | None) -> Choice:
    """The filters of the command line."""
    since_ms = None if since is None else event_time_ms(since)
    return Choice(frozenset(reasons), frozenset(partitions), frozenset(positions), since_ms)


def letters_topic(config: Config, letters: str) -> str:
    """The topic of the worker's or the relay's dead letters; UsageError when there is none."""
    if letters == "worker" and config.sink.kafka is not None:
        return config.sink.kafka.dead_letters
    if letters == "relay" and config.relay is not None and config.relay.dead_letters.topic is not None:
        return config.relay.dead_letters.topic
    raise UsageError(
        f"the configuration has no topic of the {letters}'s dead letters",
        "`sink.kafka.dead_letters` and `relay.dead_letters.topic` name them; a file holds lines of JSON",
    )


def line_of(letter: DeadLetter) -> str:
    """Position, time, reason, origin and the beginning of the bytes."""
    origin = letter.origin
    source = f"{origin[0]}[{origin[1]}]@{origin[2]}" if origin is not None else "?"
    target = f" for {letter.said('target')}" if letter.said("target") else ""
    reason = letter.said("reason") or "no reason given"
    size = letter.said("original_bytes") or len(letter.value)
    when = iso_time(max(0, letter.timestamp_ms))
    return f"{letter.position}  {when}  {reason}{target}  {source}  {size} bytes  {letter.preview}"
