"""What the Kafka objects are given and what they hand back; knows nothing of the client library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from longwatch.pipeline.records import Partition

METADATA_BYTES = 4096


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach a cluster and how to behave there; times in milliseconds unless named otherwise.

    `client` holds further kafka-python options (security, buffers, patience), secrets resolved; it is never printed,
    and options that carry a promise cannot be set there. `start` is used only where the group has committed nothing.
    `max_batch_bytes` is the most that a compressed batch may become, `max_poll_bytes` of keys and values end a poll.
    `columns`: records need not become an object each.

    How long a call may block is said here and nowhere else. A request is given up after `request_timeout_ms`, and so is
    an unanswered join; a connection is tried for `connect_timeout_ms` and again after at most `reconnect_ms`; a commit
    takes `commit_seconds`, any other call `answer_ms`, and the worker goes on from there. What outlives even
    `call_deadline_seconds` ends the process (exit 75). Together they leave a healed network 30 s to show, though one
    connection after another may turn out dead: the group's, its coordinator's, the producer's, its coordinator's.
    """

    bootstrap_servers: tuple[str, ...]
    client: Mapping[str, object] = field(default_factory=dict, repr=False)
    client_id: str = "longwatch"
    group_id: str | None = None
    instance_id: str | None = None
    poll_records: int = 500
    columns: bool = False
    start: Literal["earliest", "latest"] = "earliest"
    session_timeout_ms: int = 30_000
    heartbeat_interval_ms: int = 3_000
    max_poll_interval_ms: int = 300_000
    transaction_timeout_ms: int = 15_000
    delivery_timeout_ms: int = 30_000
    request_timeout_ms: int = 6_000
    connect_timeout_ms: int = 10_000
    reconnect_ms: int = 1_000
    linger_ms: int = 5
    compression: Literal["none", "zstd"] = "zstd"
    max_request_bytes: int = 1_048_576
    max_batch_bytes: int = 32 << 20
    max_poll_bytes: int = 4 << 20
    call_deadline_seconds: float = 25.0

    @property
    def commit_seconds(self) -> float:
        """Shorter than the broker keeps a transaction open: one that it ended looks like a fenced one."""
        return min(10.0, self.transaction_timeout_ms / 1500)

    @property
    def answer_ms(self) -> float:
        """Half of the last deadline, so that the client can give up before the watchdog does."""
        return self.call_deadline_seconds * 500

    @property
    def servers(self) -> str:
        """The brokers as one text, for messages."""
        return ",".join(self.bootstrap_servers)


@dataclass(frozen=True)
class Committed:
    """The next offset a group will read and the text committed with it ("" when there is none)."""

    offset: int
    metadata: str


@dataclass(frozen=True)
class Output:
    """One record to write: without `partition` the key decides it, a null key any; `headers` are (name, value)."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return len(self.key or b"") + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(frozen=True)
class Truncated:
    """The offset to read next is not in the log: the log holds [log_start, log_end), reading goes on at resume_at."""

    partition: Partition
    wanted: int
    log_start: int
    log_end: int
    resume_at: int


@dataclass(frozen=True)
class Unreadable:
    """The records [first, next_offset) cannot be read (a broken checksum, an unknown codec) and were stepped over."""

    partition: Partition
    first: int
    next_offset: int
    reason: str


@dataclass(frozen=True)
class TopicDescription:
    """A topic as the cluster has it; `topic_id` is its UUID (KIP-516)."""

    name: str
    topic_id: str
    partitions: int
