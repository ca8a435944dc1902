"""Fixtures of the integration tests."""

from support.kafka_broker import kafka

__all__ = ["kafka"]
