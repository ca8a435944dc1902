"""On a real broker: no canary in any topic, copies in step with the alerts, and masked letters replayed whole."""

import json
import subprocess
from pathlib import Path

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from support.canaries import Canaries, canary_log
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, make_live

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SEED = 11
FORMS = ("ocsf", "ecs", "cloudevents")
NOW_MS = 1_795_000_000_000


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries(SEED)


@pytest.fixture(scope="module")
def live(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory, canaries: Canaries) -> Live:
    """A worker that has read the demo's lines with canaries, and written alerts in every form."""
    made = make_live(kafka, tmp_path_factory.mktemp("leaves"), kafka.create_topic())
    sections = json.loads(made.config.read_text())
    sections["sink"]["kafka"]["copies"] = [{"topic": f"{made.outputs}.{form}", "format": form} for form in FORMS]
    made.config.write_text(json.dumps(sections))
    lines = canary_log(canaries, demo_frame()["line"].to_list())
    key = canaries.planted[0].encode()
    kafka.produce(made.topic, [(key, line.encode(), NOW_MS) for line in lines])
    made.run()
    return made


def content(live: Live, name: str) -> bytes:
    records = live.kafka.read(f"{live.outputs}.{name}")
    assert records, name
    return b"\n".join(b"|".join((r.key or b"", r.value, repr(r.headers).encode())) for r in records)


def test_no_canary_is_in_any_topic_or_in_the_log(live: Live, canaries: Canaries):
    for name in ("alerts", "dlq", "late", *FORMS):
        assert canaries.found_in(content(live, name)) == [], name
    assert canaries.found_in(live.log.read_bytes()) == []


def test_every_copy_holds_each_alert_message_once_in_the_same_order(live: Live):
    keys = [f"{alert.alert_id}-{alert.revision}" for alert in live.alerts()]
    assert len(keys) > 20
    read = {form: [json.loads(r.value) for r in live.kafka.read(f"{live.outputs}.{form}")] for form in FORMS}
    assert [each["metadata"]["uid"] for each in read["ocsf"]] == keys
    assert [each["event"]["id"] for each in read["ecs"]] == keys
    assert [each["id"] for each in read["cloudevents"]] == keys
    assert [msgspec.convert(each["data"], Alert) for each in read["cloudevents"]] == live.alerts()
    (headers,) = {tuple(record.headers) for record in live.kafka.read(f"{live.outputs}.cloudevents")}
    assert headers == (("content-type", b"application/cloudevents+json"),)


def test_verify_proves_outputs_that_are_masked(live: Live):
    done = subprocess.run([str(LONGWATCH), "verify", str(live.config)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_masked_letter_is_replayed_with_the_bytes_of_its_record(
    live: Live, canaries: Canaries, kafka: KafkaForTests, tmp_path: Path
):
    target = kafka.create_topic()
    words = [str(LONGWATCH), "dlq", "replay", str(live.config), "--all", "--to", target]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert canaries.found_in(done.stdout.encode()) == []
    records = kafka.read(target)
    assert canaries.found_in(b"\n".join(record.value for record in records)) == canaries.planted
    assert {record.key for record in records} == {canaries.planted[0].encode()}


def test_a_masked_letter_whose_record_is_gone_is_left_out_and_said(live: Live, kafka: KafkaForTests):
    other = kafka.create_topic()
    with kafka.admin() as admin:
        ends = {(live.topic, 0): len(kafka.read(live.topic))}
        from kafka import TopicPartition

        admin.delete_records({TopicPartition(topic, number): end for (topic, number), end in ends.items()})
    words = [str(LONGWATCH), "dlq", "replay", str(live.config), "--all", "--to", other]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "left out: masked, and the record itself is no longer in its topic" in done.stdout
    assert kafka.read(other) == []
