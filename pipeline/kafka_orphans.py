"""Partitions that nobody reads although their group is settled.

A static member that dies between the two rounds of a cooperative hand-over has let a partition go that nobody has yet.
Its successor takes its place back without a round (KIP-345), and the partition stays without an owner for good.
"""

from longwatch.pipeline.kafka_client import opened_admin
from longwatch.pipeline.kafka_settings import KafkaSettings, TopicDescription


def has_orphans(settings: KafkaSettings, topic: TopicDescription) -> bool:
    """Whether the settled group gives some partition of the topic to no member; False while it rebalances."""
    with opened_admin(settings) as admin:
        group = admin.describe_groups([settings.group_id])[settings.group_id]
    if group["error"] or group["group_state"] != "Stable":
        return False
    owned = {
        number
        for member in group["members"]
        for given in member["member_assignment"]["assigned_partitions"]
        if given["topic"] == topic.name
        for number in given["partitions"]
    }
    return len(owned) < topic.partitions
