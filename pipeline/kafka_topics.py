"""Topics: what the cluster has, and creating what is missing when that was asked for."""

from collections.abc import Mapping

from longwatch.pipeline.kafka_client import NewTopic, kafka_errors, opened_admin, translate
from longwatch.pipeline.kafka_errors import TopicMissingError
from longwatch.pipeline.kafka_settings import KafkaSettings, TopicDescription


def find_topics(settings: KafkaSettings, names: list[str]) -> dict[str, TopicDescription]:
    """Those of the named topics that exist; raises BrokerRefusedError when one may not be looked at."""
    with opened_admin(settings) as admin:
        return _found(admin.describe_topics(names), settings)


def _found(answers: list[dict[str, object]], settings: KafkaSettings) -> dict[str, TopicDescription]:
    found = {}
    for answer in answers:
        error = kafka_errors.for_code(answer["error_code"])
        name, partitions = str(answer["name"]), answer["partitions"]
        if issubclass(error, kafka_errors.UnknownTopicOrPartitionError):
            continue
        if error is not kafka_errors.NoError:
            raise translate(error(name), f"looking at topic {name}", settings)
        assert isinstance(partitions, list)  # noqa: S101 - narrows the client's untyped answer
        found[name] = TopicDescription(name, str(answer["topic_id"]), len(partitions))
    return found


def describe_topic(settings: KafkaSettings, topic: str) -> TopicDescription:
    """The topic's UUID and number of partitions; raises TopicMissingError."""
    found = find_topics(settings, [topic])
    if topic not in found:
        raise TopicMissingError(
            f"topic {topic} does not exist at {settings.servers}", "create it, or correct its name in the YAML"
        )
    return found[topic]


def create_missing_topics(
    settings: KafkaSettings, topics: Mapping[str, int], *, allowed: bool, for_ever: bool = False
) -> tuple[str, ...]:
    """Create those of {name: partitions} that do not exist and return their names; `for_ever` keeps all records.

    Without `allowed` (`sink.kafka.create_topics: true`) raises TopicMissingError with the command that creates it.
    """
    missing = sorted(topics.keys() - find_topics(settings, list(topics)).keys())
    if missing and not allowed:
        raise TopicMissingError(
            f"topic {', '.join(missing)} does not exist at {settings.servers}",
            f"set sink.kafka.create_topics: true, or run: {_command(settings, missing[0], topics[missing[0]])}",
        )
    if missing:
        _create(settings, {name: topics[name] for name in missing}, for_ever)
    return tuple(missing)


def _create(settings: KafkaSettings, topics: Mapping[str, int], for_ever: bool) -> None:
    kept = {"retention.ms": "-1", "retention.bytes": "-1"} if for_ever else {}
    new = [NewTopic(name, num_partitions=partitions, topic_configs=kept) for name, partitions in topics.items()]
    with opened_admin(settings) as admin:
        try:
            admin.create_topics(new, wait_for_metadata=True)
        except kafka_errors.TopicAlreadyExistsError:
            # Two workers started together; the other one was quicker.
            admin.wait_for_topics(list(topics))


def _command(settings: KafkaSettings, topic: str, partitions: int) -> str:
    return f"kafka-topics.sh --bootstrap-server {settings.servers} --create --topic {topic} --partitions {partitions}"
