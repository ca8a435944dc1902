"""Where alerts go, and with them what was rejected or late."""

from typing import ClassVar

from pydantic import Field

from longwatch.pipeline.alert_formats.choice import AlertFormat
from longwatch.pipeline.config.base import Model, OneOf, Problem
from longwatch.pipeline.config.values import Duration, Many, PositiveDuration, TopicName, YamlPath


class AlertCopy(Model):
    """Every alert once more, in a form that another system reads."""

    topic: TopicName = Field(description="Topic for these alerts.")
    format: AlertFormat = Field(description="ocsf, ecs or cloudevents; longwatch is the form of `alerts`.")


class KafkaSink(Model):
    """Topics on the brokers of `source.kafka`, written in one transaction with the offsets."""

    alerts: TopicName = Field(default="longwatch.alerts", description="Topic for alerts.")
    dead_letters: TopicName = Field(
        default="longwatch.dead-letters", description="Topic for records that cannot be read."
    )
    late: TopicName = Field(
        default="longwatch.late", description="Topic for events that came too late for their window."
    )
    copies: Many[AlertCopy] = Field(
        default=(), max_length=8, description="Alerts in other forms, committed together with those of `alerts`."
    )
    create_topics: bool = Field(
        default=False, description="Create those of these topics, and the relay's, that do not exist."
    )
    transaction_timeout: PositiveDuration = Field(
        default=Duration(15_000), description="The broker aborts a transaction open this long."
    )
    commit_interval: PositiveDuration = Field(default=Duration(500), description="How often results are committed.")

    def _problems(self) -> list[Problem]:
        if self.commit_interval >= self.transaction_timeout:
            message = (
                f"commit_interval {self.commit_interval} is not below transaction_timeout {self.transaction_timeout}"
            )
            return [Problem(message, "every transaction would be aborted: commit more often", ("commit_interval",))]
        return []


class EmbeddedSink(Model):
    """One SQLite database on this machine, and from it a file and the terminal."""

    database: YamlPath = Field(
        default="longwatch.db", validate_default=True, description="Holds alerts, rejects and offsets."
    )
    file: YamlPath | None = Field(default=None, description="Alerts as JSON lines.")
    stdout: bool = Field(default=True, description="Print alerts as JSON lines.")
    format: AlertFormat = Field(default="longwatch", description="Form of the alerts in the file and on the terminal.")


class Sink(OneOf):
    """Where alerts go."""

    kinds: ClassVar[tuple[str, ...]] = ("kafka", "embedded")

    kafka: KafkaSink | None = Field(default=None, description="Topics on the brokers of `source.kafka`.")
    embedded: EmbeddedSink | None = Field(
        default=None, description="A database on this machine; `{}` for the defaults."
    )
