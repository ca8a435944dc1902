"""What a pipeline left for those who read committed records only, and how it differs from an uninterrupted run's."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from support.live import Live

Identity = tuple[object, ...]
NAMES = ("alerts", "dlq", "late")
HANGS_S = 30.0


@dataclass(frozen=True)
class Difference:
    """Outputs by identity: what is missing, stands there more than once, was not expected, or has another payload."""

    lost: list[Identity]
    doubled: list[Identity]
    unexpected: list[Identity]
    changed: list[Identity]

    def __bool__(self) -> bool:
        return any((self.lost, self.doubled, self.unexpected, self.changed))


@dataclass(frozen=True)
class Outcome:
    """Payload digests of each output's identity: one each, if all is well."""

    digests: dict[Identity, tuple[str, ...]]

    @property
    def kinds(self) -> Counter[str]:
        """How many outputs of each topic."""
        return Counter(str(identity[0]) for identity, found in self.digests.items() for _ in found)

    def against(self, expected: "Outcome") -> Difference:
        """How this differs from what was expected."""
        ours, theirs = self.digests, expected.digests
        return Difference(
            sorted(theirs.keys() - ours.keys(), key=repr),
            sorted((each for each, found in ours.items() if len(found) > 1), key=repr),
            sorted(ours.keys() - theirs.keys(), key=repr),
            sorted((each for each in ours.keys() & theirs.keys() if set(ours[each]) != set(theirs[each])), key=repr),
        )


def outcome(live: Live) -> Outcome:
    """Everything in the three output topics of a pipeline, once no killed worker's transaction hides their ends."""
    found: dict[Identity, tuple[str, ...]] = {}
    wait_for_transactions(live)
    for name in NAMES:
        for record in live.kafka.read(f"{live.outputs}.{name}"):
            identity, digest = (_alert if name == "alerts" else _letter)(record)
            found[name, *identity] = (*found.get((name, *identity), ()), digest)
    return Outcome(found)


def wait_for_transactions(live: Live) -> None:
    """Wait until readers of committed records may see all that there is; the broker ends what no one goes on with."""
    topics = [f"{live.outputs}.{name}" for name in NAMES]
    deadline = time.monotonic() + HANGS_S
    while (seen := _ends(live, topics, "read_committed")) != (there := _ends(live, topics, "read_uncommitted")):
        assert time.monotonic() < deadline, f"a transaction hangs: {seen} of {there}"
        time.sleep(0.2)


def _ends(live: Live, topics: list[str], isolation_level: str) -> list[int]:
    servers = live.kafka.bootstrap_servers
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, isolation_level=isolation_level)
    try:
        partitions = [TopicPartition(topic, each) for topic in topics for each in consumer.partitions_for_topic(topic)]
        return [end for _, end in sorted(consumer.end_offsets(partitions).items())]
    finally:
        consumer.close()


def _alert(record: ConsumerRecord) -> tuple[Identity, str]:
    """`instance` says who wrote it, which a kill may change and nothing else may."""
    alert = json.loads(record.value)
    payload = {name: value for name, value in alert.items() if name != "instance"}
    return (alert["alert_id"], alert["revision"]), _digest([record.key.decode(), payload])


def _letter(record: ConsumerRecord) -> tuple[Identity, str]:
    headers = {name: value.decode() for name, value in record.headers}
    identity = (headers["longwatch.partition"], headers["longwatch.offset"])
    return identity, _digest([repr(record.key), repr(record.value), headers])


def _digest(payload: object) -> str:
    return blake2b(json.dumps(payload, sort_keys=True).encode(), digest_size=16).hexdigest()
