"""The checks one after the other, each with a deadline of its own; none disturbs a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from uuid import uuid4

from longwatch.pipeline.assembly import open_model, window_rules
from longwatch.pipeline.bundles import Bundles
from longwatch.pipeline.checkpoint import Position, decode_position
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config, KafkaSink, KafkaSource
from longwatch.pipeline.doctor import facts, positions, topics
from longwatch.pipeline.doctor.answer import Answer, State
from longwatch.pipeline.errors import FatalError, LongwatchError
from longwatch.pipeline.kafka_offsets import Bounds, committed_offsets, log_bounds
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_settings import KafkaSettings, TopicDescription
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.kafka_worker import kafka_settings, output_topics
from longwatch.pipeline.records import Partition

DEADLINE_S = 20.0

_LOOKING = {"hanging transactions", "clock"}
"""Checks that ask for what a worker does not need."""

_REQUESTS = {
    "Fetch": (1, 4),
    "Metadata": (3, 10),
    "OffsetFetch": (9, 7),
    "InitProducerId": (22, 1),
    "AddOffsetsToTxn": (25, 0),
    "TxnOffsetCommit": (28, 3),
}
"""Number and least version in the protocol: topic ids, stable offsets, and fencing by generation (KIP-447)."""


@dataclass
class Examination:
    """`answers` asks and judges; a check that does not answer in `deadline_s` is left behind in its thread."""

    config: Config
    source: KafkaSource
    sink: KafkaSink
    clock: Clock
    deadline_s: float = DEADLINE_S
    _digests: tuple[str, str] | None = None
    _kept: set[str] | None = None
    _topics: dict[str, facts.Topic] = field(default_factory=dict)
    _watchdog: Watchdog = field(default_factory=Watchdog)

    def answers(self) -> Iterator[Answer]:
        """Each answer as soon as it is there."""
        yield from self._asked("bundle", self._bundle)
        broker = self._asked("broker", self._broker)
        yield from broker
        checks = {
            "topics": self._look_at_topics,
            "transactions": self._transactions,
            "lag": self._group,
            "hanging transactions": self._hanging,
            "clock": self._clocks,
        }
        reachable = all(answer.state is not State.FAILED for answer in broker)
        for name, check in checks.items():
            unasked = [Answer(name, State.UNASKED, "no broker to ask", "see `broker`")]
            yield from self._asked(name, check) if reachable else unasked

    def _asked(self, name: str, check: Callable[[], Iterable[Answer]]) -> list[Answer]:
        """The check's answers; an error or silence is an answer, too."""
        found: list[Answer] = []
        thread = threading.Thread(target=lambda: found.extend(_answered(name, check)), daemon=True)
        thread.start()
        thread.join(self.deadline_s)
        if thread.is_alive():
            state = State.FAILED if name == "broker" else State.UNASKED
            return [Answer(name, state, f"no answer within {self.deadline_s:.0f} s", "look at the broker's log")]
        return found

    @property
    def _client(self) -> KafkaSettings:
        # The watchdog would end the process; here a thread that is late is left behind instead.
        return replace(kafka_settings(self.config), call_deadline_seconds=3600.0)

    @property
    def _outputs(self) -> tuple[str, ...]:
        return *output_topics(self.config, self.sink).values(), *(copy.topic for copy in self.sink.copies)

    def _bundle(self) -> Iterator[Answer]:
        model = open_model(self.config)
        self._digests = (model.bundle.digest[:16], self.config.digest[:16])
        if self.config.reload is not None:
            self._kept = Bundles(self.config, model).at_hand
        yield Answer("bundle", State.OK, f"{self.config.bundle} loads, digest {self._digests[0]}")

    def _broker(self) -> Iterator[Answer]:
        client = self._client
        found = facts.cluster(client)
        old = [name for name, (key, least) in _REQUESTS.items() if found.requests.get(key, -1) < least]
        if old:
            said = f"too old for {', '.join(old)}"
            yield Answer("broker", State.FAILED, said, "Apache Kafka 2.8 or newer has what longwatch needs")
        else:
            said = f"{client.servers} answers, {found.brokers} in the cluster, knows every request that is needed"
            yield Answer("broker", State.OK, said)

    def _look_at_topics(self) -> Iterator[Answer]:
        self._topics = facts.topics(self._client, [self.source.topic, *self._outputs])
        needed = [topics.Needed(self._topics[self.source.topic], writes=False)]
        needed += [topics.Needed(self._topics[name], True, self.sink.create_topics) for name in self._outputs]
        yield from topics.existence(needed)
        yield from topics.access(needed)
        yield from topics.settings(needed, window_rules(self.config.windows), self._client.max_request_bytes)

    def _transactions(self) -> Iterator[Answer]:
        # As a worker without a name has it, so that the same permission covers it; no worker is fenced.
        name = f"longwatch-{self.config.pipeline}-{uuid4().hex}"
        producer = TransactionalProducer(self._client, name, self._watchdog)
        try:
            producer.commit([], {}, None)
        finally:
            producer.close()
        yield Answer("transactions", State.OK, f"begun and ended one as {name[:-24]}...")

    def _group(self) -> Iterator[Answer]:
        group = facts.group(self._client)
        yield positions.access(group, self.config.group_id)
        if group.refused or self._input is None:
            return
        committed = self._committed(self._input)
        bounds = self._bounds(self.source.topic)
        yield positions.lag(self.source.topic, committed, bounds, group)
        yield from positions.replay(self.source.topic, committed, bounds, self._digests, self._kept)

    def _hanging(self) -> Iterator[Answer]:
        there = [name for name, topic in self._topics.items() if _usable(topic)]
        bounds = {name: self._bounds(name) for name in there}
        held = [(name, number) for name, each in bounds.items() for number, at in each.items() if at.stable < at.end]
        found = facts.open_transactions(self._client, held) if held else []
        ours = dict.fromkeys(self._outputs, self._client.transaction_timeout_ms)
        yield from positions.hanging(found, len(held), self.clock.now_ms(), ours)

    def _clocks(self) -> Iterator[Answer]:
        there = {name: topic.partitions for name, topic in self._topics.items() if _usable(topic)}
        yield positions.clock(facts.newest_records(self._client, there), self.clock.now_ms())

    @property
    def _input(self) -> facts.Topic | None:
        topic = self._topics.get(self.source.topic)
        return topic if topic is not None and _usable(topic) else None

    def _committed(self, topic: facts.Topic) -> dict[int, Position]:
        described = TopicDescription(topic.name, "", topic.partitions)
        found = committed_offsets(self._client, described, self._watchdog)
        return {
            number: decode_position(Partition(topic.name, "", number), at.offset, at.metadata)
            for number, at in found.items()
        }

    def _bounds(self, name: str) -> dict[int, Bounds]:
        described = TopicDescription(name, "", self._topics[name].partitions)
        return log_bounds(self._client, [described], self._watchdog)[name]


def _usable(topic: facts.Topic) -> bool:
    return topic.exists and not topic.refused


def _answered(name: str, check: Callable[[], Iterable[Answer]]) -> Iterator[Answer]:
    try:
        yield from check()
    except LongwatchError as error:
        yield Answer(name, _state(name, error), error.message, error.hint)
    except Exception as error:
        said = f"unexpected {type(error).__name__}: {error}"
        yield Answer(name, State.UNASKED, said, "report it, with the version of the broker")


def _state(name: str, error: LongwatchError) -> State:
    """What only an administrator may ask, or what may be asked again, is no fault of the pipeline."""
    again = isinstance(error, FatalError) or error.retriable
    unasked = name in _LOOKING or (again and name != "broker")
    return State.UNASKED if unasked else State.FAILED
