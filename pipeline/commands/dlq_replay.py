"""`longwatch dlq replay pipeline.yaml`: chosen dead letters' original bytes, back into a topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from uuid import uuid4

from longwatch.pipeline.commands.dlq_list import chosen, letters_topic, line_of
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.console import write_line
from longwatch.pipeline.dead_letters import DeadLetter, replays_so_far
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.kafka_errors import TopicMissingError
from longwatch.pipeline.kafka_letters import LetterBox
from longwatch.pipeline.kafka_producer import RECORD_OVERHEAD, TransactionalProducer
from longwatch.pipeline.kafka_settings import KafkaSettings, Output
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_worker import kafka_settings

CHUNK = 100


def dlq_replay(
    config: Path,
    overrides: Mapping[str, str],
    letters: str,
    reasons: Sequence[str],
    partitions: Sequence[int],
    positions: Sequence[str],
    since: str | None,
    to: str | None,
    everything: bool,
    dry_run: bool,
    max_replays: int,
) -> int:
    """Writes chosen letters' records to the input topic or to `to`, each chunk in one transaction."""
    loaded = load_config(config, overrides)
    choice = chosen(reasons, partitions, positions, since)
    if choice.is_all and not everything:
        raise UsageError("nothing says which dead letters", "choose with --reason, --at, --since ..., or say --all")
    topic, settings = letters_topic(loaded, letters), kafka_settings(loaded)
    target = destination(loaded, letters, topic, to)
    describe_topic(settings, target)
    with closing(LetterBox(settings, topic)) as box, closing(_Origins(settings)) as origins:
        found = (letter for letter in box.letters(choice.since_ms) if choice.means(letter))
        replay = _Replay(origins, target, max_replays, settings.max_request_bytes)
        _write(loaded, settings, replay.outputs(found), dry_run)
    _say(replay.counts, target, dry_run)
    return 0


def destination(config: Config, letters: str, topic: str, to: str | None) -> str:
    """Where records go back to; UsageError for the dead letters themselves, or when nothing says it."""
    if to is None and letters == "relay":
        raise UsageError("alerts put back into their topic would reach every reader twice", "name a topic with --to")
    source = config.source.kafka
    target = to or ("" if source is None else source.topic)
    if target == topic:
        raise UsageError(f"topic {topic} holds the dead letters themselves", "name another topic with --to")
    return target


class _Origins:
    """The records that letters hold, asked of the topics they came from."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._boxes: dict[str, LetterBox | None] = {}

    def record(self, letter: DeadLetter) -> DeadLetter | None:
        """The original record; None where its topic or its log no longer has it."""
        if letter.origin is None:
            return None
        topic, partition, offset = letter.origin
        box = self._box(topic)
        return None if box is None else box.record_at(partition, offset)

    def close(self) -> None:
        """Close the connections."""
        for box in self._boxes.values():
            if box is not None:
                box.close()

    def _box(self, topic: str) -> LetterBox | None:
        if topic not in self._boxes:
            try:
                self._boxes[topic] = LetterBox(self._settings, topic)
            except TopicMissingError:
                self._boxes[topic] = None
        return self._boxes[topic]


class _Replay:
    """Turns letters into outputs, and counts what it leaves out and why."""

    def __init__(self, origins: _Origins, target: str, max_replays: int, max_bytes: int) -> None:
        self._origins = origins
        self._target = target
        self._max_replays = max_replays
        self._max_bytes = max_bytes
        self.counts: Counter[str] = Counter()

    def outputs(self, letters: Iterator[DeadLetter]) -> Iterator[Output]:
        """What is to be written; each letter is shown with what becomes of it."""
        for letter in letters:
            original = self._origins.record(letter)
            replays = 0 if original is None else replays_so_far(original.headers)
            output = letter.to(self._target, replays + 1)
            if letter.masked and original is not None:
                output = replace(output, key=original.key, value=original.value)
            kept = self._why_not(letter, output, replays, original)
            self.counts[kept or "replayed"] += 1
            write_line(f"{f'left out, {kept}' if kept else f'replay {replays + 1}'}: {line_of(letter)}")
            if not kept:
                yield output

    def _why_not(self, letter: DeadLetter, output: Output, replays: int, original: DeadLetter | None) -> str:
        if letter.masked and original is None:
            return "masked, and the record itself is no longer in its topic"
        if not letter.whole and not letter.masked:
            return "not all of its bytes are there"
        if replays >= self._max_replays:
            return f"replayed {self._max_replays} times already"
        return "larger than a request may be" if output.size + RECORD_OVERHEAD > self._max_bytes else ""


def _write(config: Config, settings: KafkaSettings, outputs: Iterator[Output], dry_run: bool) -> None:
    with ExitStack() as opened:
        producer = None
        while chunk := list(islice(outputs, CHUNK)):
            if dry_run:
                continue
            if producer is None:
                producer = TransactionalProducer(settings, f"longwatch-dlq-{config.pipeline}-{uuid4().hex}")
                opened.callback(producer.close)
            producer.commit(chunk, {}, None)


def _say(counts: Counter[str], target: str, dry_run: bool) -> None:
    done = counts.pop("replayed", 0)
    left = "".join(f"; {number:,} left out: {why}" for why, number in sorted(counts.items()))
    what = f"{done:,} dead letters would go to {target}" if dry_run else f"{done:,} dead letters replayed to {target}"
    write_line(f"{what}{left}")
    if dry_run and done:
        write_line("nothing was written: leave out --dry-run to replay them")
