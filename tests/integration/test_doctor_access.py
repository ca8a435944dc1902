"""`longwatch doctor` on a broker with permissions: each one that a worker lacks is named."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kafka_broker import KafkaForTests, broker_module
from support.live import LONGWATCH, make_live

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

AUTHORIZER = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
"""


@pytest.fixture(scope="module")
def guarded(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaForTests]:
    """A broker where everyone may do what no rule is about."""
    ops = broker_module()
    write = ops._write_properties

    def write_with_authorizer(folder: Path, *rest: object) -> Path:
        path = write(folder, *rest)
        path.write_text(path.read_text() + AUTHORIZER)
        return path

    broker = ops.LocalBroker(tmp_path_factory.mktemp("guarded"), ops.fetch())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "_write_properties", write_with_authorizer)
        broker.start()
    try:
        yield KafkaForTests(broker, broker.bootstrap_servers)
    finally:
        broker.stop()


def allow(kafka: KafkaForTests, kind: str, name: str, *operations: str) -> None:
    """From now on this user may do with it what is listed, and another everything."""
    from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

    rules = [("User:ANONYMOUS", operation) for operation in operations] + [("User:other", "ALL")]
    with kafka.admin() as admin:
        admin.create_acls(
            [
                ACL(
                    user,
                    "*",
                    ACLOperation[operation],
                    ACLPermissionType.ALLOW,
                    ResourcePattern(ResourceType[kind], name),
                )
                for user, operation in rules
            ]
        )


def commit_something(kafka: KafkaForTests, group: str, topic: str) -> None:
    """What may be done with a group is told of groups that exist."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=group, enable_auto_commit=False)
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)})
    finally:
        consumer.close()


@pytest.mark.parametrize(
    ("kind", "operations", "check", "hint"),
    [
        ("TOPIC", ("DESCRIBE", "READ", "DESCRIBE_CONFIGS"), "access", "give this user WRITE on the topic"),
        ("TOPIC", (), "access", "give this user DESCRIBE on the topic"),
        ("GROUP", ("DESCRIBE",), "access", "give this user READ on the group"),
        ("GROUP", (), "access", "give this user READ on the group"),
        ("TRANSACTIONAL_ID", (), "transactions", "the permissions of this user"),
    ],
)
def test_a_permission_that_a_worker_lacks_is_a_failure_and_named(
    guarded: KafkaForTests, tmp_path, kind, operations, check, hint
):
    live = make_live(guarded, tmp_path, guarded.create_topic())
    alerts = guarded.create_topic(name=f"{live.outputs}.alerts")
    pipeline = json.loads(live.config.read_text())["pipeline"]
    commit_something(guarded, pipeline, alerts)
    allow(guarded, kind, "*" if kind == "TRANSACTIONAL_ID" else {"TOPIC": alerts, "GROUP": pipeline}[kind], *operations)
    done = subprocess.run(
        [LONGWATCH, "doctor", live.config, "--json"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    failed = [each for each in json.loads(done.stdout)["answers"] if each["state"] == "failed"]
    assert [each["check"] for each in failed] == [check]
    assert hint in failed[0]["hint"]
