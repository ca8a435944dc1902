"""Changes of the configuration as workers recorded them in their topic, for restarts and replays."""

from __future__ import annotations

import msgspec

from longwatch.pipeline.errors import InputError
from longwatch.pipeline.kafka_offsets import log_bounds
from longwatch.pipeline.kafka_settings import KafkaSettings
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.setting import Change
from longwatch.pipeline.verify.topics import read_committed


def read_changes(client: KafkaSettings, topic: str, watchdog: Watchdog) -> list[Change]:
    """All that is committed; waits for transactions that are open."""
    bounds = log_bounds(client, [describe_topic(client, topic)], watchdog)[topic]
    try:
        return [
            msgspec.json.decode(written.content.value or b"", type=Change)
            for written in read_committed(client, topic, bounds, watchdog)
        ]
    except msgspec.DecodeError as error:
        raise InputError(
            f"a record is no change of a configuration: {error}",
            "give `reload.topic` a topic of its own",
            source=topic,
        ) from error
