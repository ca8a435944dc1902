"""What needs no broker: options, columns, errors."""

import pytest

from longwatch.pipeline.errors import BrokerRefusedError, ConfigError, FatalError, FencedError
from longwatch.pipeline.kafka_client import check_client_options, is_broken_data, kafka_errors, translate
from longwatch.pipeline.kafka_consumed import record_frame
from longwatch.pipeline.kafka_errors import BrokerUnreachableError, TopicMissingError
from longwatch.pipeline.kafka_settings import KafkaSettings, Output
from longwatch.pipeline.records import RECORD_SCHEMA

SETTINGS = KafkaSettings(("broker-1:9092", "broker-2:9092"), client={"sasl_plain_password": "hush"})


@pytest.mark.parametrize("option", ["isolation_level", "enable_auto_commit", "acks", "value_deserializer", "group_id"])
def test_an_option_that_carries_a_promise_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is set by longwatch itself"):
        check_client_options({option: None})


def test_an_unknown_option_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean security_protocol"):
        check_client_options({"security_protokol": "SSL"})


def test_tuning_and_security_options_are_taken() -> None:
    check_client_options({"security_protocol": "SSL", "session_timeout_ms": 9_000, "ssl_cafile": "ca.pem"})


def test_settings_do_not_print_their_secrets() -> None:
    assert "hush" not in repr(SETTINGS)


def test_no_records_give_an_empty_frame_of_the_right_columns() -> None:
    assert record_frame([]).schema == RECORD_SCHEMA


@pytest.mark.parametrize(
    ("error", "expected", "exit_code", "retriable"),
    [
        (kafka_errors.KafkaTimeoutError(), BrokerUnreachableError, 1, True),
        (kafka_errors.NotLeaderForPartitionError(), BrokerUnreachableError, 1, True),
        (ConnectionResetError(), BrokerUnreachableError, 1, True),
        (kafka_errors.UnknownTopicOrPartitionError(), TopicMissingError, 1, False),
        (kafka_errors.TopicAuthorizationFailedError(), BrokerRefusedError, 1, False),
        (kafka_errors.ProducerFencedError(), FencedError, 76, False),
        (kafka_errors.FencedInstanceIdError(), FencedError, 76, False),
        (kafka_errors.InvalidTxnStateError(), FatalError, 75, False),
    ],
)
def test_every_error_of_the_client_has_its_place_in_the_tree(
    error: Exception, expected: type[Exception], exit_code: int, retriable: bool
) -> None:
    found = translate(error, "reading topic logs", SETTINGS)
    assert isinstance(found, expected)
    assert (found.exit_code, found.retriable) == (exit_code, retriable)
    assert "reading topic logs (Kafka at broker-1:9092,broker-2:9092)" in found.message


def test_only_errors_that_can_come_from_a_batch_are_taken_for_broken_data() -> None:
    assert is_broken_data(kafka_errors.CorruptRecordError())
    assert is_broken_data(kafka_errors.UnsupportedCodecError())
    assert is_broken_data(ValueError("bad varint"))
    assert not is_broken_data(kafka_errors.KafkaTimeoutError())
    assert not is_broken_data(kafka_errors.TopicAuthorizationFailedError())
    assert not is_broken_data(FencedError("stop"))


def test_the_size_of_an_output_counts_key_value_and_headers() -> None:
    assert Output("t", b"key", b"value", [("h", b"12")]).size == 11
    assert Output("t", None, b"").size == 0
