"""What silences alerts: marks that people make while the worker runs, and rules that stand here."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from longwatch.pipeline.config.base import Model, Problem
from longwatch.pipeline.config.values import Many, Text, TopicName, YamlPath


def _time(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise Problem(f"`{text}` is no time", "write it as '2026-11-24T08:00:00Z' or '2026-11-24'").as_error() from None
    return text


Time = Annotated[str, AfterValidator(_time)]


def time_ms(text: str) -> int:
    """Milliseconds of a time that was checked; UTC where it names no zone."""
    moment = datetime.fromisoformat(text)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


class SilenceRule(Model):
    """Silences alerts of some entities in which nothing stands out but what is named here."""

    name: Text = Field(pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Names the rule in the messages it silences.")
    templates: Annotated[Many[Text], Field(min_length=1)] = Field(
        description="Globs; every template that carries the alert must match one."
    )
    entities: Many[Text] = Field(default=("*",), description="Globs, one of which the entity must match.")
    rule: Text | None = Field(default=None, description="Only alerts of this threshold rule.")
    kind: Literal["event", "window"] | None = Field(default=None, description="Only alerts of this kind.")
    since: Time | None = Field(default=None, description="Event time from which on it holds.")
    until: Time | None = Field(default=None, description="Event time at which it ends.")

    def _problems(self) -> Iterator[Problem]:
        if self.since is not None and self.until is not None and time_ms(self.since) >= time_ms(self.until):
            yield Problem(f"since {self.since} is not before until {self.until}", "swap them", ("since",))


class Feedback(Model):
    """Where marks are read from, where silenced messages go, and rules that hold always."""

    topic: TopicName = Field(default="longwatch.marks", description="Topic of marks, with `source.kafka`.")
    file: YamlPath = Field(
        default="longwatch.marks.jsonl", validate_default=True, description="File of marks, with `sink.embedded`."
    )
    suppressed: TopicName = Field(default="longwatch.suppressed", description="Topic for silenced alert messages.")
    effects: TopicName = Field(
        default="longwatch.mark-effects", description="Topic that records at which offsets marks took effect."
    )
    rules: Many[SilenceRule] = Field(default=(), description="Silence alerts as long as they stand here.")

    def _problems(self) -> Iterator[Problem]:
        names = [rule.name for rule in self.rules]
        for place, name in enumerate(names):
            if name in names[:place]:
                yield Problem(f"rule `{name}` is here twice", "rules need distinct names", ("rules", place, "name"))
