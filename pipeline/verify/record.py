"""One output record, of a topic or of the replay, and which input record it says it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from longwatch.pipeline.alerts import Alert, AlertKey
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition

Headers = tuple[tuple[str, bytes], ...]

_LARGEST = 2**62
"""No offset and no revision is larger; a damaged record may say so."""


class NotOursError(ValueError):
    """The record is no alert, dead letter or late event of this version."""


@dataclass(frozen=True)
class Content:
    """What the two sides are compared by."""

    key: bytes | None
    value: bytes
    headers: Headers

    @classmethod
    def of(cls, output: Output) -> Content:
        """What the worker would write for a replayed output."""
        return cls(output.key, output.value, output.headers)


@dataclass(frozen=True)
class Written:
    """A record as it stands in an output topic."""

    topic: str
    partition: int
    offset: int
    content: Content

    @property
    def place(self) -> str:
        """`topic[partition]@offset`."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True)
class Identity:
    """Which output a record is: `name` is an alert's id, `revision` counts its messages; letters have neither."""

    source: Partition
    trigger_offset: int
    name: str = ""
    revision: int = 0

    @property
    def key(self) -> str:
        """Unique among the outputs of one kind and input partition."""
        return f"{self.name}/{self.revision}" if self.name else str(self.trigger_offset)

    @property
    def cause(self) -> str:
        """`topic[partition]@offset` of the input record."""
        return f"{self.source}@{self.trigger_offset}"

    def described(self, kind: Kind) -> str:
        """For messages."""
        return f"alert {self.name} revision {self.revision}" if self.name else kind.value.replace("_", " ")


def identify(kind: Kind, content: Content) -> Identity:
    """The output that a record says it is; raises NotOursError where it says nothing that can be read."""
    found = _alert_identity(decode_alert(content.value)) if kind.holds_alert else _letter_identity(content.headers)
    if not all(0 <= number < _LARGEST for number in (found.source.partition, found.trigger_offset, found.revision)):
        raise NotOursError(f"it names {found.cause}, revision {found.revision}, which cannot be")
    return found


def decode_alert(value: bytes) -> Alert:
    """Alert of its JSON; raises NotOursError."""
    try:
        return msgspec.json.decode(value, type=Alert)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotOursError(f"it cannot be read as an alert: {error}") from error


def proves_its_topic(alert: Alert) -> bool:
    """Whether the id is the one that its own topic id, entity and window give: else one of them was changed.

    A masked entity gives no id, so such an alert is believed.
    """
    if "<" in alert.entity:
        return True
    source = Partition(alert.source.topic, alert.source.topic_id, alert.source.partition)
    swapped_at = None if alert.swapped_at is msgspec.UNSET else alert.swapped_at
    key = AlertKey(source, alert.entity, alert.window.first_offset, f"{alert.rule}/{alert.kind}", swapped_at)
    return key.alert_id == alert.alert_id


def _alert_identity(alert: Alert) -> Identity:
    source = Partition(alert.source.topic, alert.source.topic_id, alert.source.partition)
    return Identity(source, alert.source.trigger_offset, alert.alert_id, alert.revision)


def _letter_identity(headers: Headers) -> Identity:
    found = {name.removeprefix("longwatch."): value for name, value in headers}
    try:
        topic, topic_id = (found[name].decode() for name in ("topic", "topic_id"))
        return Identity(Partition(topic, topic_id, int(found["partition"])), int(found["offset"]))
    except (KeyError, ValueError) as error:
        raise NotOursError(f"its headers do not say which record it belongs to: {error!r}") from error
