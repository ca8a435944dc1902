"""The whole check against a cluster: what was committed, what stands in the topics, what a replay gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from dataclasses import replace as with_
from pathlib import Path
from typing import Any, Literal

from longwatch.pipeline.assembly import Model, open_model
from longwatch.pipeline.checkpoint import Position, decode_position
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config, KafkaSink, KafkaSource
from longwatch.pipeline.errors import FatalError, LongwatchError
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.feedback.recorded import read_record
from longwatch.pipeline.kafka_changes import read_changes
from longwatch.pipeline.kafka_offsets import Bounds, committed_offsets, log_bounds
from longwatch.pipeline.kafka_range import Bound, KafkaRange
from longwatch.pipeline.kafka_settings import Committed, KafkaSettings, TopicDescription
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.kafka_worker import kafka_settings, output_topics
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.records import Partition
from longwatch.pipeline.verify.comparison import Comparison, Scope, Upto
from longwatch.pipeline.verify.findings import Findings
from longwatch.pipeline.verify.ledger import Ledger
from longwatch.pipeline.verify.replay import replay
from longwatch.pipeline.verify.topics import read_committed

Report = Callable[[str, int], None]


@dataclass
class Verdict:
    """`reasons` say why nothing is proven, whatever was found; `ranges` are the offsets replayed."""

    reasons: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    ranges: dict[Partition, tuple[int, int]] = field(default_factory=dict)
    records: int = 0
    of_others: int = 0

    @property
    def word(self) -> Literal["proven", "differs", "unchecked"]:
        """The verdict in a word."""
        if self.reasons:
            return "unchecked"
        return "differs" if self.findings.total else "proven"

    @property
    def exit_code(self) -> int:
        """0 proven, 1 differences found, 2 could not be checked."""
        return {"proven": 0, "differs": 1, "unchecked": 2}[self.word]

    def as_dict(self) -> dict[str, Any]:
        """The same for machines."""
        ranges = [{"partition": str(at), "from": start, "to": stop} for at, (start, stop) in self.ranges.items()]
        head = {"verdict": self.word, "reasons": self.reasons, "replayed": ranges, "records": self.records}
        return head | self.findings.as_dict() | {"outputs_of_other_topics": self.of_others}


def check(config: Config, source: KafkaSource, sink: KafkaSink, clock: Clock, report: Report) -> Verdict:
    """Compare the output topics with a replay up to what the group has committed; the cluster is only read."""
    verdict = Verdict()
    try:
        _Check(config, source, sink, clock, report, verdict).run()
    except FatalError:
        raise
    except LongwatchError as error:
        verdict.reasons.append(str(error))
    return verdict


@dataclass
class _Check:
    config: Config
    source: KafkaSource
    sink: KafkaSink
    clock: Clock
    report: Report
    verdict: Verdict
    watchdog: Watchdog = field(default_factory=Watchdog)

    def run(self) -> None:
        """Fill the verdict; stops as soon as something shows that nothing can be proven."""
        model, client = open_model(self.config), kafka_settings(self.config)
        topic = describe_topic(client, self.source.topic)
        # The offsets first: every output of a commit seen now lies before the ends asked for afterwards.
        committed = committed_offsets(client, topic, self.watchdog)
        positions = {number: self._position(topic, number, at) for number, at in committed.items()}
        bounds = self._bounds(client, topic)
        past = self._past(client)
        self.verdict.reasons += self._before_reading(model, topic, positions, bounds, past)
        self.verdict.reasons += unrecorded(positions, topic, past)
        if self.verdict.reasons:
            return
        with (
            tempfile.TemporaryDirectory(prefix="longwatch-verify-") as folder,
            closing(Ledger(Path(folder) / "written.db")) as ledger,
        ):
            comparison = Comparison(self._scope(model, topic, positions, past), ledger)
            self.verdict.findings = comparison.findings
            self._read(client, bounds, comparison)
            self.verdict.reasons += comparison.unprovable()
            if not self.verdict.reasons:
                self._replay(model, client, positions, comparison, past)
                comparison.finish()

    def _past(self, client: KafkaSettings) -> Past | None:
        """What took effect where: marks, and configurations."""
        past = None if self.config.feedback is None else read_record(self.config).past()
        if self.config.reload is None:
            return past
        changes = read_changes(client, self.config.reload.topic, self.watchdog)
        return with_(past or Past(), changes=changes)

    def _position(self, topic: TopicDescription, number: int, at: Committed) -> Position:
        return decode_position(Partition(topic.name, topic.topic_id, number), at.offset, at.metadata)

    def _bounds(self, client: KafkaSettings, topic: TopicDescription) -> dict[str, dict[int, Bounds]]:
        return log_bounds(client, [topic, *(describe_topic(client, name) for name in self._topics())], self.watchdog)

    def _topics(self) -> dict[str, Kind]:
        kinds = output_topics(self.config, self.sink)
        return {name: kind for kind, name in kinds.items() if not kind.is_record}

    def _before_reading(
        self,
        model: Model,
        topic: TopicDescription,
        positions: dict[int, Position],
        bounds: dict[str, dict[int, Bounds]],
        past: Past | None,
    ) -> Iterator[str]:
        """Why no replay from the start up to here can be made, or would be another one."""
        if not positions:
            yield f"group {self.config.group_id} has committed nothing of {topic.name}: run the worker first"
        if self.source.start == "latest":
            yield "source.kafka.start is latest, so where the group began is not known: only `earliest` can be replayed"
        yield from _cut(bounds)
        changes = [] if past is None else past.changes
        recorded = {digest[:16] for change in changes for digest in (change.config, change.bundle) if digest}
        for number, position in positions.items():
            place, end = f"{topic.name}[{number}]@{position.next_offset}", bounds[topic.name][number].end
            yield from self._unlike(model, position, place, recorded)
            if position.next_offset > end:
                yield f"{place}: committed past the log's end {end}, so the topic was re-created or cut"

    def _unlike(self, model: Model, position: Position, place: str, recorded: Collection[str]) -> Iterator[str]:
        ours = {"bundle": model.bundle.digest[:16], "config": self.config.digest[:16]}
        for name, digest in ours.items():
            theirs = getattr(position.metadata, name)
            if theirs != digest and theirs not in recorded:
                said = f"{name} {theirs}" if theirs else f"no {name}, by another tool"
                yield f"{place}: committed with {said}, this is {name} {digest}: verify with what the worker ran"

    def _scope(self, model: Model, topic: TopicDescription, positions: dict[int, Position], past: Past | None) -> Scope:
        upto = {
            number: Upto(position.next_offset, position.metadata.replay_from == position.next_offset)
            for number, position in positions.items()
        }
        digests = (model.bundle.digest, self.config.digest)
        changes = [] if past is None else past.changes
        configs, bundles = (frozenset(getattr(each, name) for each in changes) for name in ("config", "bundle"))
        return Scope(topic.name, topic.topic_id, upto, digests, self.config.alerts.top_events, configs, bundles)

    def _read(self, client: KafkaSettings, bounds: dict[str, dict[int, Bounds]], comparison: Comparison) -> None:
        count = 0
        for name, kind in self._topics().items():
            for written in read_committed(client, name, bounds[name], self.watchdog):
                comparison.found(kind, written)
                count += 1
                self.report("reading outputs", count)
        self.verdict.of_others = comparison.of_others

    def _replay(
        self,
        model: Model,
        client: KafkaSettings,
        positions: dict[int, Position],
        comparison: Comparison,
        past: Past | None,
    ) -> None:
        ends = {number: position.next_offset for number, position in positions.items()}
        # A partition that nothing was committed of is not read.
        with closing(KafkaRange(client, self.source.topic, end=Bound(0, ends), watchdog=self.watchdog)) as records:
            self.verdict.ranges = records.ranges
            done = replay(
                self.config,
                model,
                records,
                self.clock,
                comparison.expected,
                lambda progress: self.report("replaying", progress.records),
                past,
            )
            self.verdict.records = done.records


def unrecorded(positions: dict[int, Position], topic: TopicDescription, past: Past | None) -> Iterator[str]:
    """Commits under marks of which the topic of effects does not tell."""
    for number, position in positions.items():
        partition = Partition(topic.name, topic.topic_id, number)
        timeline = None if past is None else past.timelines.get(partition)
        missing = set(position.metadata.steps) - set(() if timeline is None else timeline.steps)
        recorded = [] if past is None else [each for each in past.changes if each.partition == number]
        told = {each.saved(position.metadata.bundle) for each in recorded if each.topic_id == topic.topic_id}
        if set(position.metadata.changes) - told:
            place = f"{partition}@{position.next_offset}"
            yield f"{place}: committed under configurations that are not recorded: verify with the worker's `reload`"
        if missing:
            place = f"{partition}@{position.next_offset}"
            yield f"{place}: committed under marks whose effect is not recorded: verify with the worker's `feedback`"


def _cut(bounds: dict[str, dict[int, Bounds]]) -> Iterator[str]:
    for name, partitions in bounds.items():
        for number, at in partitions.items():
            if at.start > 0:
                yield f"{name}[{number}]@0: the log begins at {at.start}, retention cut what was before"
