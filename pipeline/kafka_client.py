"""The one file that imports kafka-python: clients with every safety setting written out, and its errors translated.

Values in and out are bytes: a deserializer that raises would stop the consumer at that record for ever.
"""

import difflib
import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from longwatch.pipeline import kafka_patches
from longwatch.pipeline.errors import BrokerRefusedError, ConfigError, FencedError, LongwatchError
from longwatch.pipeline.kafka_batches import Limits, PollBudget
from longwatch.pipeline.kafka_errors import BrokerUnreachableError, ClientFailedError, TopicMissingError
from longwatch.pipeline.kafka_kernel import compile_reader
from longwatch.pipeline.kafka_oauth import TokenSource
from longwatch.pipeline.kafka_partition import BoundedReading, ColumnReading
from longwatch.pipeline.kafka_reachable import check_reachable, tls_context
from longwatch.pipeline.kafka_settings import KafkaSettings
from longwatch.pipeline.kafka_transactions import Transactions
from longwatch.pipeline.kafka_watchdog import Watchdog

with warnings.catch_warnings():
    # kafka-python 3.0.12 reads its schemas, at import, through a call that Python 3.11 calls deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka import errors as kafka_errors
    from kafka.admin import ConfigResource, NewTopic
    from kafka.consumer.fetcher import Fetcher, IsolationLevel
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.net.compat import KafkaNetClient
    from kafka.net.connection import KafkaConnection
    from kafka.net.inet import KafkaNetSocket
    from kafka.net.sasl.oauth import AbstractTokenProvider
    from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
    from kafka.structs import OffsetAndMetadata, TopicPartition

# What carries a promise, or has a setting of its own.
_OWN = """
bootstrap_servers group_id group_instance_id enable_auto_commit auto_offset_reset isolation_level check_crcs
allow_auto_create_topics key_deserializer value_deserializer max_poll_records partition_assignment_strategy
enable_idempotence transactional_id transaction_timeout_ms delivery_timeout_ms acks retries linger_ms compression_type
max_in_flight_requests_per_connection max_request_size max_block_ms key_serializer value_serializer partitioner
bootstrap_timeout_ms metrics_enabled kafka_client
"""
OWN_OPTIONS = frozenset(_OWN.split())
CLIENT_OPTIONS = (
    KafkaConsumer.DEFAULT_CONFIG.keys() | KafkaProducer.DEFAULT_CONFIG.keys() | KafkaAdminClient.DEFAULT_CONFIG.keys()
) - OWN_OPTIONS

_FENCED = (
    kafka_errors.ProducerFencedError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.FencedInstanceIdError,
    kafka_errors.TransactionCoordinatorFencedError,
)
_MISSING = (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.InvalidTopicError)
_REFUSED = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.UnsupportedVersionError,
    kafka_errors.KafkaConfigurationError,
    kafka_errors.InvalidTransactionTimeoutError,
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.PolicyViolationError,
    kafka_errors.MessageSizeTooLargeError,
)
_TOKENS = "sasl_oauth_token_provider"
_watchdog = Watchdog()


kafka_patches.close_what_does_not_connect(KafkaNetSocket)
for transport in (KafkaTCPTransport, KafkaSSLTransport):
    kafka_patches.hear_what_came_before_the_end(transport)
_NO_LOGIN = (kafka_errors.SaslAuthenticationFailedError, kafka_errors.UnsupportedSaslMechanismError)
kafka_patches.end_at_a_refused_login(KafkaConnection, _NO_LOGIN)


def check_client_options(client: Mapping[str, object]) -> None:
    """Raise ConfigError for an option kafka-python does not know or that longwatch sets itself."""
    for name in client:
        if name in OWN_OPTIONS:
            raise ConfigError(f"source.kafka.client.{name} is set by longwatch itself", "remove it")
        if name not in CLIENT_OPTIONS:
            near = difflib.get_close_matches(name, CLIENT_OPTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else "see kafka-python's client options"
            raise ConfigError(f"source.kafka.client.{name} is not an option of the Kafka client", hint)


def consumer_options(settings: KafkaSettings, *, group: bool = False) -> dict[str, Any]:
    """What a consumer is told: commit nothing by itself, reset and create nothing, read committed records only."""
    patience = {
        "session_timeout_ms": settings.session_timeout_ms,
        "heartbeat_interval_ms": settings.heartbeat_interval_ms,
        "max_poll_interval_ms": settings.max_poll_interval_ms,
    }
    return (
        patience
        | _connection(settings, KafkaConsumer.DEFAULT_CONFIG)
        | {
            "group_id": settings.group_id if group else None,
            "group_instance_id": settings.instance_id if group else None,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "allow_auto_create_topics": False,
            "check_crcs": True,
            "key_deserializer": None,
            "value_deserializer": None,
            "max_poll_records": settings.poll_records,
            # Partitions that stay keep their open windows through a rebalance; those that go are handed on in a second
            # round, which waits until this member has let go (RebalanceQueue).
            "partition_assignment_strategy": [CooperativeStickyAssignor],
            "metrics_enabled": False,
        }
    )


def open_consumer(settings: KafkaSettings, *, group: bool = False, columns: bool = False) -> Any:
    """A consumer with `consumer_options`, that gives no more at once than the settings allow.

    With `columns` its polls give `RecordColumns`, without headers, instead of an object a record.
    """
    options = consumer_options(settings, group=group)
    with _client_maker(settings) as make_client:
        consumer = KafkaConsumer(**options, kafka_client=make_client)
    # kafka-python 3.0.12 bounds neither what a batch becomes nor the bytes of a poll.
    limits, fetcher = Limits(settings.max_batch_bytes, settings.max_poll_bytes, headers=not group), consumer._fetcher
    budget = PollBudget(limits.poll_bytes)
    if columns:
        compile_reader()
    reading = _ColumnPartition if columns else _BoundedPartition
    fetcher.PartitionRecords = partial(reading, limits=limits, budget=budget)
    fetcher._append = budget.ending_polls(fetcher._append)
    return consumer


def producer_options(settings: KafkaSettings, transactional_id: str) -> dict[str, Any]:
    """What a producer is told: idempotent, transactional, every replica."""
    return (
        # A transaction begun while the broker still finishes the last one is refused and tried again after this pause.
        {"retry_backoff_ms": 20}
        | _connection(settings, KafkaProducer.DEFAULT_CONFIG)
        | {
            "transactional_id": transactional_id,
            "enable_idempotence": True,
            "acks": "all",
            "max_in_flight_requests_per_connection": 5,
            "transaction_timeout_ms": settings.transaction_timeout_ms,
            "delivery_timeout_ms": settings.delivery_timeout_ms,
            "max_block_ms": settings.commit_seconds * 1000,
            "linger_ms": settings.linger_ms,
            "compression_type": None if settings.compression == "none" else settings.compression,
            "max_request_size": settings.max_request_bytes,
            "allow_auto_create_topics": False,
            "key_serializer": None,
            "value_serializer": None,
            "metrics_enabled": False,
        }
    )


def open_producer(settings: KafkaSettings, transactional_id: str) -> Transactions:
    """A producer with `producer_options`; `init_transactions` is left to the caller."""
    options = producer_options(settings, transactional_id)
    with _client_maker(settings) as make_client:
        return Transactions(KafkaProducer(**options, kafka_client=make_client), settings.commit_seconds)


@contextmanager
def opened_admin(settings: KafkaSettings) -> Iterator[Any]:
    """An admin client for a few calls."""
    options = _connection(settings, KafkaAdminClient.DEFAULT_CONFIG)
    with _client_maker(settings) as make_client, _watchdog.guard("admin calls", settings.call_deadline_seconds):
        admin = KafkaAdminClient(**options, kafka_client=make_client)
    try:
        with translated("asking", settings), _watchdog.guard("admin calls", settings.call_deadline_seconds):
            yield admin
    finally:
        with _watchdog.guard("admin calls", settings.call_deadline_seconds):
            admin.close()


@contextmanager
def _client_maker(settings: KafkaSettings) -> Iterator[Callable[..., Any]]:
    """What makes the network client: one whose owner cannot start would otherwise live on, and try for ever."""
    context = _tls_context(settings)
    check_reachable(settings, context)
    if isinstance(source := settings.client.get(_TOKENS), TokenSource):
        source.token()  # Asked here, where its error is heard: on the client's own thread it would be tried for ever.
    made: list[Any] = []
    # With every failure the client doubles its patience, up to half a minute: long after a network has healed.
    names = ("socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms")
    patience = dict.fromkeys(names, settings.request_timeout_ms)

    def make(**options: Any) -> Any:
        made.append(KafkaNetClient(**options | patience))
        return made[-1]

    try:
        with translated("connecting", settings):
            yield make
    except BaseException as error:
        for client in made:
            client.close()
        if isinstance(error, BrokerUnreachableError) and context is not None:
            # A broker says only after the handshake that it does not know a client, and kafka-python does not say it.
            check_reachable(settings, context, listen_s=1.0)
        raise


def _tls_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    build = KafkaSSLTransport._build_ssl_context
    return tls_context(settings, lambda options: build(KafkaConsumer.DEFAULT_CONFIG | dict(options)))


def _connection(settings: KafkaSettings, known: Mapping[str, object]) -> dict[str, object]:
    check_client_options(settings.client)
    defaults = {
        "client_id": settings.client_id,
        "request_timeout_ms": settings.request_timeout_ms,
        "reconnect_backoff_max_ms": settings.reconnect_ms,
    }
    given = {name: value for name, value in settings.client.items() if name in known}
    if isinstance(source := given.get(_TOKENS), TokenSource):
        given[_TOKENS] = _Tokens(source)
    always = {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "bootstrap_timeout_ms": settings.connect_timeout_ms,
    }
    return defaults | given | always


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, source: TokenSource) -> None:
        super().__init__()
        self._source = source

    def token(self) -> str:
        return self._source.token()


class _BoundedPartition(BoundedReading, Fetcher.PartitionRecords):  # type: ignore[misc]
    """One partition's fetched records, an object each."""


class _ColumnPartition(ColumnReading, Fetcher.PartitionRecords):  # type: ignore[misc]
    """One partition's fetched records as columns."""

    corrupt = kafka_errors.CorruptRecordError
    read_committed = IsolationLevel.READ_COMMITTED


def truncated_offsets(error: Exception) -> dict[Any, int | None]:
    """{partition: offset to go back to, or None} when the error says that a position is outside its log."""
    if isinstance(error, kafka_errors.OffsetOutOfRangeError):
        return dict.fromkeys(error.args[0])
    if isinstance(error, kafka_errors.LogTruncationError):
        return {tp: at.offset if at is not None else None for tp, at in error.divergent_offsets.items()}
    return {}


def is_broken_data(error: Exception) -> bool:
    """Whether the error may come from the bytes of a record batch rather than from a broker."""
    known = kafka_errors.CorruptRecordError | kafka_errors.UnsupportedCodecError
    return isinstance(error, known) or not isinstance(error, kafka_errors.KafkaError | LongwatchError)


def translate(error: Exception, doing: str, settings: KafkaSettings) -> LongwatchError:
    """The error in longwatch's tree, with what was being done and at which brokers."""
    said = f"{doing} (Kafka at {settings.servers}): {type(error).__name__}: {error}"
    if isinstance(error, LongwatchError):
        return error
    if isinstance(error, _FENCED):
        return FencedError(said, "another worker runs under the same id; let only one of them live")
    if isinstance(error, _MISSING):
        return TopicMissingError(said, "create the topic, or correct its name in the YAML")
    if isinstance(error, _REFUSED) or "InvalidTransactionTimeoutError" in str(error):
        return BrokerRefusedError(said, "check source.kafka.client (security) and the permissions of this user")
    if isinstance(error, OSError) or getattr(error, "retriable", False):
        return BrokerUnreachableError(said, "check bootstrap_servers and that a broker is running there")
    return ClientFailedError(said, "restart; if it repeats, run with --debug and report it")


@contextmanager
def translated(doing: str, settings: KafkaSettings) -> Iterator[None]:
    """Raise the block's errors as LongwatchError."""
    try:
        yield
    except LongwatchError:
        raise
    except Exception as error:
        raise translate(error, doing, settings) from error


__all__ = [
    "ConfigResource",
    "ConsumerRebalanceListener",
    "NewTopic",
    "OffsetAndMetadata",
    "TopicPartition",
    "check_client_options",
    "consumer_options",
    "is_broken_data",
    "kafka_errors",
    "open_consumer",
    "open_producer",
    "opened_admin",
    "producer_options",
    "translate",
    "translated",
    "truncated_offsets",
]
