"""Where records come from."""

from datetime import date
from typing import ClassVar, Literal

from pydantic import Field

from longwatch.pipeline.config.base import Model, OneOf, Problem
from longwatch.pipeline.config.kafka_client import ClientOptions, is_this_machine
from longwatch.pipeline.config.values import Many, PositiveSize, Size, Text, TopicName, YamlPath


class KafkaSource(Model):
    """A topic, read by a consumer group."""

    bootstrap_servers: Many[Text] = Field(min_length=1, description="Brokers to ask first, each `host:port`.")
    topic: TopicName = Field(description="Topic to read.")
    group_id: Text | None = Field(default=None, description="Consumer group; the pipeline's name by default.")
    client: ClientOptions = Field(default_factory=ClientOptions, description="Options of the Kafka client.")
    allow_plaintext: bool = Field(
        default=False, description="Let lines and passwords travel unencrypted to other machines."
    )
    poll_records: int = Field(default=2000, ge=1, le=100_000, description="Most records read at a time.")
    columns: bool = Field(
        default=True,
        description="Read record batches as columns, not an object a record: a third of the time, the same records.",
    )
    max_batch: PositiveSize = Field(
        default=Size(32 << 20), description="A compressed batch that would become larger is one dead letter."
    )
    start: Literal["earliest", "latest"] = Field(default="earliest", description="Where a new group starts.")
    on_truncated: Literal["continue", "stop"] = Field(
        default="continue", description="What to do when the broker has already deleted records that were not read."
    )

    def _problems(self) -> list[Problem]:
        servers = enumerate(self.bootstrap_servers)
        return [problem for place, server in servers if (problem := self._server_problem(place, server))]

    def _server_problem(self, place: int, server: str) -> Problem | None:
        at = ("bootstrap_servers", place)
        host, colon, port = server.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            return Problem(f"`{server}` is not `host:port`", "for example 127.0.0.1:9092", at)
        if self.client.encrypted or self.allow_plaintext or is_this_machine(host):
            return None
        message = f"`{server}` is another machine and {self.client.security_protocol} is not encrypted"
        return Problem(message, "set client.security_protocol to SSL or SASL_SSL, or `allow_plaintext: true`", at)


class AsTopic(Model):
    """The topic whose offsets and alert ids the lines of files are given."""

    name: TopicName = Field(description="Topic that would hold the lines.")
    id: Text | None = Field(default=None, description="Its UUID, where alert ids must equal those of the live topic.")
    partitions: int = Field(default=1, ge=1, le=10_000, description="How many partitions it has.")


class FilesSource(Model):
    """Files of lines, plain or compressed (.gz, .zst), read in this order."""

    paths: Many[YamlPath] = Field(min_length=1, description="Files, relative to this YAML file.")
    as_topic: AsTopic | None = Field(default=None, description="Number the lines as this topic would hold them.")
    written: date | None = Field(
        default=None,
        strict=False,
        description="Day of the last line, such as 2026-02-28: what has no year gets the one that fits it.",
    )


class StdinSource(Model):
    """Lines from standard input."""

    name: TopicName = Field(default="stdin", description="What alerts call this source.")


class Source(OneOf):
    """Where records come from."""

    kinds: ClassVar[tuple[str, ...]] = ("kafka", "files", "stdin")

    kafka: KafkaSource | None = Field(default=None, description="A Kafka topic.")
    files: FilesSource | None = Field(default=None, description="Files of lines.")
    stdin: StdinSource | None = Field(default=None, description="Standard input; `{}` for the defaults.")
