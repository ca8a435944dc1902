"""Fixtures of the tests that break things."""

from support.kafka_broker import kafka

__all__ = ["kafka"]
