"""What a commit says: the next offset to read and, in its metadata, where to read again from to rebuild the windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from longwatch.pipeline.errors import StateError
from longwatch.pipeline.moving import Moved
from longwatch.pipeline.outputs import Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Saved, named
from longwatch.pipeline.window_state import NEVER_MS

VERSION, WITH_MARKS, WITH_CHANGES, WITH_BUNDLES = 1, 2, 3, 4
"""A commit under marks or changes has a version of its own: who does not know of them must not go on from it."""


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """Travels with the committed offset: `{v, replay_from, event_time, bundle, config, arrival}`.

    `event_time` and `arrival` are the partition's highest event time and arrival before `replay_from`, from which the
    watermark and the search for silence go on; `bundle` and `config` are the digests (first 16 hex digits) that the
    outputs up to here were made with. `moved` is where thresholds that follow the stream stand. `marks` are the steps
    (moment, how much of the log of marks is in force from it on) that are needed to rebuild what was silenced since
    `replay_from`, and `settings` those of configurations: (moment, number, configuration/bundle). Version 3 lacks the
    bundle: there it was one all along.
    """

    v: int
    replay_from: int
    event_time: int
    bundle: str
    config: str
    arrival: int = -1
    moved: Moved | None = None
    marks: tuple[tuple[int, int], ...] | msgspec.UnsetType = msgspec.UNSET
    settings: tuple[Saved, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """`marks`, empty where there are none."""
        return () if self.marks is msgspec.UNSET else self.marks

    @property
    def changes(self) -> tuple[Saved, ...]:
        """`settings`, empty where there are none, each with its bundle."""
        found = () if self.settings is msgspec.UNSET else self.settings
        return tuple((at, number, name if "/" in name else named(name, self.bundle)) for at, number, name in found)


class _Version(msgspec.Struct, frozen=True):
    """What every version's metadata has, whatever else it holds."""

    v: int


@dataclass(frozen=True)
class Position:
    """`next_offset` is the next record to read; every output that a record below it causes is committed."""

    next_offset: int
    metadata: Metadata

    def encode_metadata(self) -> str:
        """Metadata as compact JSON, well under the broker's 4,096 bytes."""
        return msgspec.json.encode(self.metadata).decode()


def decode_position(partition: Partition, next_offset: int, metadata: str) -> Position:
    """Position from a committed offset and its metadata; none there (another tool set it) replays nothing before it.

    Raises:
        StateError: the metadata is not ours, or of a newer version.
    """
    if not metadata:
        return Position(next_offset, Metadata(VERSION, next_offset, NEVER_MS, "", ""))
    try:
        version = msgspec.json.decode(metadata, type=_Version).v
        if version in (VERSION, WITH_MARKS, WITH_CHANGES, WITH_BUNDLES):
            return Position(next_offset, msgspec.json.decode(metadata, type=Metadata))
    except msgspec.DecodeError as error:
        raise StateError(
            f"{partition}@{next_offset}: committed offset carries metadata that is not longwatch's: {error}",
            hint="give the pipeline a name of its own, or reset the group's offsets with Kafka's consumer-groups tool",
        ) from error
    raise StateError(
        f"{partition}@{next_offset}: committed by checkpoint version {version}, this longwatch reads {VERSION} "
        f"to {WITH_BUNDLES}",
        hint="run the longwatch version that committed it, or a newer one",
    )


class Store(Protocol):
    """Where outputs and positions go, together or not at all."""

    def committed(self, partition: Partition) -> Position | None:
        """Last committed position of a partition; None where nothing was."""
        ...

    def commit(self, outputs: list[Output], positions: dict[Partition, Position]) -> None:
        """Make outputs and positions durable in one step."""
        ...

    def close(self) -> None:
        """Let go of connections; nothing is committed."""
        ...
