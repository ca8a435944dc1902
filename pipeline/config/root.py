"""The whole configuration of one pipeline."""

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from longwatch.pipeline.config.base import Location, Model, Problem
from longwatch.pipeline.config.detection import Alerts, Scorer, Templates, Thresholds, Windows
from longwatch.pipeline.config.feedback import Feedback
from longwatch.pipeline.config.format import Entity, Format
from longwatch.pipeline.config.logs import Logging
from longwatch.pipeline.config.masking import Masking
from longwatch.pipeline.config.metrics import Metrics
from longwatch.pipeline.config.relay import Relay
from longwatch.pipeline.config.reload import Reload
from longwatch.pipeline.config.sink import Sink
from longwatch.pipeline.config.source import Source
from longwatch.pipeline.config.tracing import Tracing
from longwatch.pipeline.config.values import YamlPath
from longwatch.pipeline.config.web import Web
from longwatch.pipeline.errors import ConfigError
from longwatch.pipeline.yaml_document import plain_value

_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/._-]*")
_SCORES_AND_ALERTS = {"format", "entity", "templates", "windows", "thresholds", "alerts"}

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


class Config(Model):
    """One pipeline: records in, alerts out."""

    pipeline: Name = Field(description="Its name: consumer group, transactional ids and metrics carry it.")
    source: Source = Field(description="Where records come from.")
    format: Format = Field(description="What a record looks like.")
    entity: Entity = Field(description="Whose behaviour is modelled.")
    templates: Templates = Field(default_factory=Templates, description="How messages are reduced to templates.")
    windows: Windows = Field(default_factory=Windows, description="Which events are scored together.")
    bundle: YamlPath | None = Field(default=None, description="Folder of the model; `longwatch train` writes it.")
    scorer: Scorer = Field(default_factory=Scorer, description="What computes the scores.")
    thresholds: Thresholds = Field(default_factory=Thresholds, description="When an alert is raised.")
    alerts: Alerts = Field(default_factory=Alerts, description="What an alert carries.")
    masking: Masking = Field(default_factory=Masking, description="What is made unreadable in all that leaves.")
    sink: Sink = Field(description="Where alerts go.")
    relay: Relay | None = Field(
        default=None, description="Who gets the alerts of the topic; `longwatch relay` delivers."
    )

    feedback: Feedback | None = Field(
        default=None, description="What silences alerts: marks of people, and rules; `{}` for marks alone."
    )
    reload: Reload | None = Field(
        default=None,
        description="Takes over changed thresholds, silence rules and bundles without a restart; `{}` is enough.",
    )
    web: Web | None = Field(default=None, description="A live page, served by the worker; `{}` for this machine alone.")

    metrics: Metrics | None = Field(
        default=None, description="An endpoint for Prometheus and health checks; `{}` for this machine alone."
    )
    logging: Logging = Field(default_factory=Logging, description="What is logged, and how.")
    tracing: Tracing | None = Field(default=None, description="Traces of commits, for OpenTelemetry.")

    @property
    def group_id(self) -> str:
        """The consumer group: `source.kafka.group_id`, else the pipeline's name."""
        return (self.source.kafka and self.source.kafka.group_id) or self.pipeline

    @property
    def digest(self) -> str:
        """Hex sha256 of what affects scores and alerts: not of paths, hosts, names or the sink."""
        parts = self.model_dump(mode="json", include=_SCORES_AND_ALERTS, exclude_none=True)
        if self.feedback is not None and self.feedback.rules:
            # Left out where there is none, so that a pipeline without rules keeps the digest it had.
            parts["silence"] = [rule.model_dump(mode="json", exclude_none=True) for rule in self.feedback.rules]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def require_bundle(self) -> Path:
        """The bundle's folder; ConfigError when the configuration names none."""
        if self.bundle is None:
            raise ConfigError("`bundle` is missing", "`longwatch train` makes one; then write `bundle: path/to/it`")
        return self.bundle

    def warnings(self) -> list[str]:
        """What is allowed and probably not meant."""
        if self.source.files is not None and self.format.year_from_arrival:
            return ["timestamps have no year: lines of files get the one that fits the day of the run"]
        return []

    def to_yaml(self) -> str:
        """YAML that loads to an equal configuration; it holds where secrets are, never the secrets."""
        return write_yaml(self.model_dump(mode="json", exclude_none=True))

    def _problems(self) -> list[Problem]:
        return [
            *self.entity.problems_with(self.format),
            *self._source_problems(),
            *self._sink_problems(),
            *self._relay_problems(),
            *self._reload_problems(),
        ]

    def _source_problems(self) -> list[Problem]:
        if self.source.kafka is not None:
            return []
        kind = self.source.kind
        problems = []
        if self.entity.from_ == "key":
            problems.append(
                Problem(f"lines of `{kind}` have no key", "use `pattern`, `group` or `field`", ("entity", "from"))
            )
        return problems

    def _sink_problems(self) -> list[Problem]:
        if self.sink.kafka is None:
            return []
        if self.source.kafka is None:
            message = f"`sink.kafka` needs `source.kafka`, found `source.{self.source.kind}`"
            return [Problem(message, "use `sink.embedded`", ("sink", "kafka"))]
        return self._topic_problems(self.source.kafka.topic)

    def _relay_problems(self) -> list[Problem]:
        if self.relay is None or self.sink.kafka is not None:
            return []
        message = f"`relay` reads the topic of `sink.kafka`, found `sink.{self.sink.kind}`"
        return [Problem(message, "use `sink.kafka`", ("relay",), at_key=True)]

    def _reload_problems(self) -> list[Problem]:
        if self.reload is None:
            return []
        if self.sink.kafka is None:
            message = f"`reload` records what took effect in a topic, found `sink.{self.sink.kind}`"
            return [Problem(message, "use `sink.kafka`, or restart the worker", ("reload",), at_key=True)]
        if self.thresholds.follow:
            message = "`reload` cannot change thresholds that follow the stream"
            return [Problem(message, "leave out `thresholds.follow` or `reload`", ("reload",), at_key=True)]
        return []

    def _topic_problems(self, source_topic: str) -> list[Problem]:
        taken = {source_topic: "source.kafka.topic"}
        problems = []
        named: list[tuple[Location, str | None]] = [
            (("sink", "kafka", key), getattr(self.sink.kafka, key)) for key in ("alerts", "dead_letters", "late")
        ]
        if self.feedback is not None:
            named += [(("feedback", key), getattr(self.feedback, key)) for key in ("topic", "suppressed", "effects")]
        if self.reload is not None:
            named.append((("reload", "topic"), self.reload.topic))
        if self.sink.kafka is not None:
            copies = enumerate(self.sink.kafka.copies)
            named += [(("sink", "kafka", "copies", place, "topic"), copy.topic) for place, copy in copies]
        if self.relay is not None:
            named.append((("relay", "dead_letters", "topic"), self.relay.dead_letters.topic))
        for at, topic in named:
            if topic in taken:
                message = f"topic `{topic}` is also {taken[topic]}"
                problems.append(Problem(message, "give each its own topic", at))
            taken.setdefault(topic or "", ".".join(map(str, at)))
        return problems


def write_yaml(value: Any) -> str:
    """Block-style YAML; every text that could be read as something else is quoted."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Representer(SafeRepresenter):
        """Own class: representers are registered on the class, and ruamel's is shared."""

    Representer.add_representer(
        str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, _style(text))
    )
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 4096
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _style(text: str) -> str | None:
    reserved = text.lower() in ("yes", "no", "on", "off", "y", "n") or plain_value(text) != text
    if _PLAIN.fullmatch(text) and not reserved:
        return None
    return "'" if text.isprintable() else '"'
