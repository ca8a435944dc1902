"""Dead letters as they lie in their topic: what they say, which of them are meant, and what a replay writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from longwatch.pipeline.console import sanitise
from longwatch.pipeline.kafka_settings import Output

PREVIEW_CHARACTERS = 60

REPLAYS = "longwatch.replays"
REPLAYED_FROM = "longwatch.replayed_from"


@dataclass(frozen=True)
class DeadLetter:
    """One record of a dead-letter topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes]

    @property
    def position(self) -> str:
        """`topic[partition]@offset` of the letter."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @property
    def origin(self) -> tuple[str, int, int] | None:
        """Topic, partition and offset of the record it holds; None when it does not say."""
        topic, partition, offset = self.said("topic"), self.said("partition"), self.said("offset")
        return (topic, int(partition), int(offset)) if topic and partition.isdecimal() and offset.isdecimal() else None

    @property
    def whole(self) -> bool:
        """Whether it holds all the bytes of the record."""
        return self.said("truncated") != "true" and self.said("reason") != "unreadable_records"

    @property
    def masked(self) -> bool:
        """Whether some of its bytes are not the record's own: that stands where it came from."""
        return self.said("masked") == "true"

    @property
    def preview(self) -> str:
        """The beginning of its bytes, made harmless."""
        text = sanitise(self.value[: 4 * PREVIEW_CHARACTERS].decode("utf-8", "replace"))
        return text if len(text) <= PREVIEW_CHARACTERS else f"{text[: PREVIEW_CHARACTERS - 3]}..."

    def said(self, name: str) -> str:
        """A header of longwatch's as text; empty when it is not there."""
        return self.headers.get(f"longwatch.{name}", b"").decode("utf-8", "replace")

    def to(self, topic: str, replays: int) -> Output:
        """The original record for `topic`, in its own partition where that is its own topic."""
        partition = self.origin[1] if self.origin is not None and self.origin[0] == topic else None
        headers = ((REPLAYED_FROM, self.position.encode()), (REPLAYS, str(replays).encode()))
        return Output(topic, self.key, self.value, headers, partition)


@dataclass(frozen=True)
class Choice:
    """Which letters are meant; empty means all. `partitions` are those of the records that the letters hold."""

    reasons: Collection[str] = ()
    partitions: Collection[int] = ()
    positions: Collection[str] = ()
    since_ms: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing narrows it."""
        return not (self.reasons or self.partitions or self.positions) and self.since_ms is None

    def means(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        origin = letter.origin
        return (
            (not self.reasons or letter.said("reason") in self.reasons)
            and (not self.partitions or (origin is not None and origin[1] in self.partitions))
            and (not self.positions or letter.position in self.positions)
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
        )


def replays_so_far(headers: Mapping[str, bytes]) -> int:
    """How often the record with these headers was put back already."""
    text = headers.get(REPLAYS, b"0")
    return int(text) if text.isdigit() and len(text) < 10 else 0
