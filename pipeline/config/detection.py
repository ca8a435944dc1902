"""How events become windows, scores and alerts."""

from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from pydantic import Field

from longwatch.pipeline.config.base import Model, OneOf, Problem
from longwatch.pipeline.config.values import Duration, Many, MaskPattern, PositiveDuration, Text


class Mask(Model):
    """A part of messages that varies; it becomes `<*>` in templates."""

    pattern: MaskPattern = Field(description="Pattern of the part that varies.")
    name: Text = Field(description="What it is, such as IP.")


class Templates(Model):
    """How messages are reduced to templates."""

    masks: Many[Mask] = Field(default=(), description="Applied in this order, before the built-in masks.")
    merge_above: int = Field(default=4, ge=1, description="More words than this alternating at one place become `<*>`.")


class Windows(Model):
    """Consecutive events of one entity that are scored together; all times but `idle_timeout` are event time."""

    max_events: int = Field(
        default=4096, ge=1, le=1 << 20, description="A window closes when it holds this many events."
    )
    idle_gap: PositiveDuration = Field(default=Duration(1_800_000), description="A pause this long closes it.")
    max_duration: PositiveDuration = Field(
        default=Duration(86_400_000), description="It closes when it spans this much time."
    )
    overlap: int = Field(
        default=0, ge=0, description="Events of the closed window that the next one starts with as context."
    )
    allowed_lateness: Duration = Field(default=Duration(0), description="How far out of order events may arrive.")
    idle_timeout: PositiveDuration | None = Field(
        default=None, description="A source silent for this much wall time closes its windows; never, if left out."
    )

    def _problems(self) -> list[Problem]:
        if self.overlap >= self.max_events:
            message = f"overlap {self.overlap} leaves no room in a window of max_events {self.max_events}"
            return [Problem(message, "make it smaller than max_events", ("overlap",))]
        return []


class Scorer(Model):
    """What computes the scores; none of it changes them, but for the last digits that a backend rounds to."""

    backend: Literal["auto", "onnx", "torch", "triton"] = Field(
        default="auto",
        description="auto is onnx, or torch where ONNX Runtime is not installed. triton rounds weights to float16.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto is a CUDA device for triton, and the CPU for onnx and torch."
    )
    threads: int = Field(default=1, ge=1, le=1024, description="CPU threads for one worker.")
    gather_records: int = Field(
        default=16_384, ge=1, le=1_000_000, description="So many records are scored at once, without waiting for more."
    )
    gather: Duration = Field(
        default=Duration(50),
        description="How long the oldest record waits for more: larger batches cost less.",
    )


class Threshold(OneOf):
    """At which score an alert is raised."""

    kinds: ClassVar[tuple[str, ...]] = ("false_alarms_per_day", "quantile", "score")

    false_alarms_per_day: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="As many alerts a day on normal data."
    )
    quantile: float | None = Field(
        default=None, gt=0, lt=1, description="This share of normal scores lies below, such as 0.999."
    )
    score: float | None = Field(default=None, allow_inf_nan=False, description="This score and above.")


class Limits(Model):
    """Thresholds for single events and for whole windows; at least one of them."""

    event: Threshold | None = Field(default=None, description="Threshold for one event.")
    window: Threshold | None = Field(default=None, description="Threshold for a window's score so far.")

    def _problems(self) -> list[Problem]:
        if self.event is None and self.window is None:
            return [
                Problem("write a threshold for `event` or `window`", "for example `window: {false_alarms_per_day: 1}`")
            ]
        return []


class Match(Model):
    """Globs (`*`, `?`, `[abc]`) that must all match."""

    entity: Text = Field(default="*", description="The entity.")
    source: Text = Field(default="*", description="The topic, or the name the source is given.")

    def covers(self, entity: str, source: str) -> bool:
        """Whether a window of that entity and source falls under the rule."""
        return fnmatchcase(entity, self.entity) and fnmatchcase(source, self.source)


class Rule(Limits):
    """Thresholds for some entities or sources."""

    name: Text = Field(pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Names the rule in alerts and their ids.")
    match: Match = Field(description="Which entities and sources it is for.")

    def _problems(self) -> list[Problem]:
        reserved = Problem("`default` names the thresholds outside the rules", "choose another name", ("name",))
        return [*super()._problems(), *([reserved] if self.name == "default" else [])]


def _one_a_day() -> Limits:
    return Limits(event=Threshold(false_alarms_per_day=1), window=Threshold(false_alarms_per_day=1))


class Thresholds(Model):
    """When an alert is raised: the first rule that matches, else the default."""

    default: Limits = Field(default_factory=_one_a_day, description="Where no rule matches.")
    rules: Many[Rule] = Field(default=(), description="Tried in this order; the first match wins.")
    follow: bool = Field(
        default=False, description="Move window budgets with the stream, so that alarms a day stay what they say."
    )

    def limits_for(self, entity: str, source: str) -> tuple[str, Limits]:
        """The name of the rule that decides (`default` for none) and its thresholds."""
        for rule in self.rules:
            if rule.match.covers(entity, source):
                return rule.name, rule
        return "default", self.default

    def _problems(self) -> list[Problem]:
        names = [rule.name for rule in self.rules]
        return [
            Problem(f"rule `{name}` is here twice", "rules need distinct names", ("rules", place, "name"))
            for place, name in enumerate(names)
            if name in names[:place]
        ]


class Alerts(Model):
    """What an alert carries."""

    top_events: int = Field(default=5, ge=0, le=100, description="How many of the most surprising events it shows.")
    include_lines: bool = Field(default=True, description="Show their original lines, not only their templates.")
