"""How a record becomes an event: its timestamp, message and entity."""

from typing import ClassVar, Literal

from pydantic import Field

from longwatch.pipeline.config.base import Model, OneOf, Problem
from longwatch.pipeline.config.patterns import group_names, lacks_year, nearest, template_names
from longwatch.pipeline.config.values import (
    Duration,
    FieldPath,
    Pattern,
    PositiveSize,
    Size,
    Template,
    Text,
    TimestampFormat,
    Timezone,
)

_FORMAT = "iso8601, epoch_s, epoch_ms, epoch_us, epoch_ns, or a strptime format."
_SYSLOG_MESSAGE = "What templates are made of, from host, app, procid, msgid, message and the like."
_TIMEZONE = "Time zone of timestamps that name none."

# The groups of the headers in `decode.syslog`.
SYSLOG_FIELDS = {
    "rfc5424": ("priority", "version", "time", "host", "app", "procid", "msgid", "structured_data", "message"),
    "rfc3164": ("priority", "time", "host", "app", "procid", "message"),
}


class TextTimestamp(Model):
    """The event time of a line of text."""

    from_: Template = Field(
        default="{timestamp}",
        validation_alias="from",
        serialization_alias="from",
        description="Groups of the header, put together.",
    )
    format: TimestampFormat = Field(description=_FORMAT)
    timezone: Timezone = Field(default="UTC", description=_TIMEZONE)


class TextFormat(Model):
    """Lines of text with a header that a pattern reads."""

    header: Pattern = Field(description="Pattern with named groups that a whole line must match.")
    timestamp: TextTimestamp = Field(description="Event time.")
    message: Template = Field(default="{message}", description="What templates are made of, from groups of the header.")

    @property
    def groups(self) -> tuple[str, ...]:
        """Named groups of the header, in order."""
        return group_names(self.header)

    def _problems(self) -> list[Problem]:
        problems = _unknown_groups(self.message, self.groups, ("message",))
        return problems + _unknown_groups(self.timestamp.from_, self.groups, ("timestamp", "from"))


class JsonTimestamp(Model):
    """The event time of a JSON record."""

    field: FieldPath = Field(default="timestamp", description="Field that holds it, such as `event.time`.")
    format: TimestampFormat = Field(default="iso8601", description=_FORMAT)
    timezone: Timezone = Field(default="UTC", description=_TIMEZONE)


class JsonFormat(Model):
    """One JSON object to a record."""

    timestamp: JsonTimestamp = Field(default_factory=JsonTimestamp, description="Event time.")
    message: Template = Field(
        default="{message}", description="What templates are made of, from fields such as `{log.level}`."
    )


class OtelFormat(Model):
    """OpenTelemetry log records in OTLP JSON: time, body, attributes and resource are where the protocol puts them."""

    message: Template = Field(
        default="{body}", description="What templates are made of, from fields such as `{severityText}`."
    )


class Rfc5424Format(Model):
    """Syslog messages after RFC 5424; timestamps carry their own time zone."""

    message: Template = Field(default="{app}: {message}", description=_SYSLOG_MESSAGE)

    def _problems(self) -> list[Problem]:
        return _unknown_groups(self.message, SYSLOG_FIELDS["rfc5424"], ("message",))


class Rfc3164Format(Model):
    """Syslog messages after RFC 3164: their timestamps name no time zone, and no year, which the arrival time gives."""

    timezone: Timezone = Field(default="UTC", description="Time zone of the timestamps.")
    message: Template = Field(default="{app}: {message}", description=_SYSLOG_MESSAGE)

    def _problems(self) -> list[Problem]:
        return _unknown_groups(self.message, SYSLOG_FIELDS["rfc3164"], ("message",))


class Format(OneOf):
    """What a record looks like."""

    kinds: ClassVar[tuple[str, ...]] = ("text", "json", "otel", "rfc5424", "rfc3164")

    max_bytes: PositiveSize = Field(default=Size(1 << 20), description="Larger records are rejected as `too_large`.")
    max_future: Duration = Field(
        default=Duration(86_400_000), description="Events further than this ahead of their arrival are rejected."
    )
    text: TextFormat | None = Field(default=None, description="Lines of text.")
    json_: JsonFormat | None = Field(
        default=None, validation_alias="json", serialization_alias="json", description="One JSON object to a record."
    )
    otel: OtelFormat | None = Field(default=None, description="OTLP JSON log records; `{}` for the defaults.")
    rfc5424: Rfc5424Format | None = Field(default=None, description="Syslog, RFC 5424; `{}` for the defaults.")
    rfc3164: Rfc3164Format | None = Field(default=None, description="Syslog, RFC 3164; `{}` for the defaults.")

    @property
    def year_from_arrival(self) -> bool:
        """Whether event times have no year of their own."""
        return self.rfc3164 is not None or (self.text is not None and lacks_year(self.text.timestamp.format))


class Entity(OneOf):
    """Whose behaviour is modelled: host, user, session, block."""

    kinds: ClassVar[tuple[str, ...]] = ("from", "pattern", "group", "field", "value")

    from_: Literal["key"] | None = Field(
        default=None, validation_alias="from", serialization_alias="from", description="The record's key."
    )
    pattern: Pattern | None = Field(
        default=None, description="Its group `entity` counts, else its first group, else all it matches."
    )
    in_: Literal["message", "line"] = Field(
        default="message", validation_alias="in", serialization_alias="in", description="Where the pattern looks."
    )
    group: str | None = Field(default=None, description="A group of the text header.")
    field: FieldPath | None = Field(default=None, description="A field of the record, such as `resource.host`.")
    value: Text | None = Field(default=None, description="One name for all records: the log is about one thing.")

    def _problems(self) -> list[Problem]:
        if self.pattern is None and "in_" in self.model_fields_set and self.in_ != "message":
            return [Problem("`in` is only read with `pattern`", "remove it", ("in",))]
        return []

    def problems_with(self, format_: Format) -> list[Problem]:
        """Why this entity cannot be found in records of that format; places are relative to the whole configuration."""
        if self.group is not None:
            return self._group_problems(format_)
        if self.field is not None and format_.kind == "text":
            return [Problem("lines of text have no fields", "use `group` or `pattern`", ("entity", "field"))]
        known = SYSLOG_FIELDS.get(format_.kind)
        if self.field is not None and known is not None and self.field not in known:
            message = f"{format_.kind} messages have no field `{self.field}`"
            hint = f"{nearest(self.field, known)} fields are {', '.join(known)}".strip()
            return [Problem(message, hint, ("entity", "field"))]
        return []

    def _group_problems(self, format_: Format) -> list[Problem]:
        if format_.text is None:
            return [Problem(f"{format_.kind} records have no header groups", "use `field`", ("entity", "group"))]
        return _unknown_groups(f"{{{self.group}}}", format_.text.groups, ("entity", "group"))


def _unknown_groups(template: str, groups: tuple[str, ...], at: tuple[str, ...]) -> list[Problem]:
    known = f"the header's groups are {', '.join(groups)}" if groups else "the header has no named group"
    return [
        Problem(f"the header has no group `{name}`", f"{nearest(name, groups)} {known}".strip(), at)
        for name in template_names(template)
        if name not in groups
    ]
