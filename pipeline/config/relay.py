"""Where committed alerts are delivered beyond Kafka, and which addresses may be reached for that."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from longwatch.pipeline.config.base import Location, Model, OneOf, Problem
from longwatch.pipeline.config.metrics import Metrics
from longwatch.pipeline.config.relay_targets import Allow, Target
from longwatch.pipeline.config.values import (
    Duration,
    Many,
    PositiveDuration,
    PositiveSize,
    Size,
    Text,
    TopicName,
    YamlPath,
)


class Retry(Model):
    """How often a delivery is tried again, with full jitter, and when it is given up."""

    first: PositiveDuration = Field(
        default=Duration(500), description="Longest pause before the second try; it doubles."
    )
    longest: PositiveDuration = Field(default=Duration(60_000), description="No such pause is longer.")
    give_up_after: PositiveDuration = Field(
        default=Duration(3_600_000), description="A message this long undelivered becomes a dead letter."
    )

    def _problems(self) -> Iterator[Problem]:
        if self.first > self.longest:
            yield Problem(f"first {self.first} is over longest {self.longest}", "swap them", ("first",))


class RelayLetters(OneOf):
    """Where messages go that a target refuses or never takes."""

    kinds = ("topic", "file")

    topic: TopicName | None = Field(default=None, description="Topic on the brokers of `source.kafka`.")
    file: YamlPath | None = Field(default=None, description="File of JSON lines, appended to.")


class Pending(Model):
    """How much may be read ahead of the slowest target; then reading stops until it catches up."""

    messages: int = Field(default=1000, ge=1, le=100_000, description="Most messages that some target still lacks.")
    bytes: PositiveSize = Field(default=Size(32 << 20), description="Most bytes of them.")


class Relay(Model):
    """Delivers each alert message to every target at least once, in the order of its alert."""

    targets: Annotated[Many[Target], Field(min_length=1, max_length=50)] = Field(description="Who gets the alerts.")
    allow: Allow = Field(default_factory=Allow, description="Which addresses may be reached.")
    group_id: Text | None = Field(
        default=None, description="Consumer group; the pipeline's name and `.relay` by default."
    )
    start: Literal["earliest", "latest"] = Field(default="earliest", description="Where a new group starts.")
    dead_letters: RelayLetters = Field(
        default_factory=lambda: RelayLetters(topic="longwatch.relay-dead-letters"),
        description="Where messages go that cannot be delivered.",
    )
    retry: Retry = Field(default_factory=Retry, description="How deliveries are tried again.")
    pending: Pending = Field(default_factory=Pending, description="How far the slowest target may be behind.")
    commit_interval: PositiveDuration = Field(default=Duration(500), description="How often offsets are committed.")
    drain: PositiveDuration = Field(
        default=Duration(3_000), description="How long a stopping relay waits for deliveries under way."
    )

    metrics: Metrics | None = Field(
        default=None, description="The relay's own endpoint for Prometheus; the worker has port 9464 by default."
    )

    def _problems(self) -> Iterator[Problem]:
        names = [target.name for target in self.targets]
        for place, target in enumerate(self.targets):
            if target.name in names[:place]:
                yield Problem(
                    f"target `{target.name}` is here twice", "give each its own name", ("targets", place, "name")
                )
            at: Location = ("targets", place)
            for problem in target.problems_with(self.allow):
                yield Problem(problem.message, problem.hint, (*at, *problem.at))
