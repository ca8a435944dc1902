"""`longwatch doctor` against a real broker: what is well is ok, and each thing planted is named with what to do."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.config import load_config
from longwatch.pipeline.doctor.answer import Answer, State, exit_code
from longwatch.pipeline.doctor.examination import Examination
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, make_live, produce_lines

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

CHECKS = {
    "bundle",
    "broker",
    "topics",
    "access",
    "topic settings",
    "transactions",
    "lag",
    "replay distance",
    "hanging transactions",
    "clock",
}


@pytest.fixture(scope="module")
def live(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Live:
    topic = kafka.create_topic(2, message_timestamp_type="LogAppendTime")
    produce_lines(kafka, topic, list(demo_frame((9, 10)).head(500).select("entity", "line").iter_rows()), 2)
    pipeline = make_live(kafka, tmp_path_factory.mktemp("live"), topic)
    pipeline.run()
    return pipeline


def doctor(live: Live, *settings: str) -> tuple[int, list[dict[str, str]]]:
    words = [str(LONGWATCH), "doctor", str(live.config), "--json"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)
    assert said["failed"] == bool(done.returncode)
    return done.returncode, said["answers"]


def examined(live: Live, ahead_ms: int = 0) -> list[Answer]:
    """The same in this process, by a clock that is so far ahead."""
    config = load_config(live.config, {})
    clock = ManualClock(time.time_ns() // 1_000_000 + ahead_ms)
    return list(Examination(config, config.source.kafka, config.sink.kafka, clock).answers())


def of(answers: list[dict[str, str]], check: str, state: str) -> list[dict[str, str]]:
    return [each for each in answers if (each["check"], each["state"]) == (check, state)]


def test_a_pipeline_that_ran_is_well_and_every_check_answers(live):
    code, answers = doctor(live)
    assert code == 0, answers
    assert {each["check"] for each in answers} == CHECKS
    # One broker is all the tests have.
    assert {each["said"].split(" has ")[1] for each in answers if each["state"] != "ok"} <= {
        "1 replica and takes records with 1 in sync"
    }


def test_a_person_gets_lines_with_what_to_do(live):
    done = subprocess.run([LONGWATCH, "doctor", live.config], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0
    assert "ok             broker" in done.stdout
    assert "-> for outputs that outlive a broker: 3 replicas" in done.stdout


def test_a_running_worker_is_not_disturbed(live, kafka, tmp_path):
    other = make_live(kafka, tmp_path, live.topic)
    worker = other.start("source.kafka.poll_records=5", until_end=False)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=4)
        assert doctor(other)[0] == 0
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(timeout=2)
    finally:
        worker.terminate()
    assert worker.wait(timeout=30) == 0
    assert "commit_aborted" not in other.log.read_text()


def test_missing_topics_are_named_and_those_that_the_worker_makes_are_a_warning(kafka, tmp_path):
    other = make_live(kafka, tmp_path, "not-there")
    code, answers = doctor(other)
    assert code == 1
    assert of(answers, "topics", "failed")[0]["said"] == "topic not-there does not exist"
    assert len(of(answers, "topics", "warning")) == 3


def test_settings_that_lose_data_are_failures(kafka, tmp_path):
    topic = kafka.create_topic(retention_ms="3600000")
    other = make_live(kafka, tmp_path, topic)
    kafka.create_topic(name=f"{other.outputs}.alerts", cleanup_policy="compact", max_message_bytes="100000")
    code, answers = doctor(other)
    assert code == 1
    failed = [each["said"] for each in of(answers, "topic settings", "failed")]
    assert any("keeps 1.0 h, a window may last 24." in said for said in failed)
    assert any("is compacted" in said for said in failed)
    warned = [each["said"] for each in of(answers, "topic settings", "warning")]
    assert any("takes 100,000 bytes" in said for said in warned)


def test_a_replay_point_that_retention_has_passed_is_a_failure(live, kafka, tmp_path):
    from kafka import TopicPartition

    topic = kafka.create_topic()
    produce_lines(kafka, topic, list(demo_frame((9, 10)).head(300).select("entity", "line").iter_rows()), 1)
    other = make_live(kafka, tmp_path, topic, {"windows": {"max_events": 200, "idle_timeout": "1h"}})
    worker = other.start(until_end=False)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=6)
    worker.terminate()
    worker.wait(timeout=30)
    with kafka.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 200})
    code, answers = doctor(other)
    assert code == 1
    (failed,) = of(answers, "replay distance", "failed")
    assert f"{topic}[0]@" in failed["said"]
    assert "the log begins at 200" in failed["said"]


def test_waiting_records_without_a_worker_are_a_warning(live, kafka, tmp_path):
    answers = doctor(make_live(kafka, tmp_path, live.topic))[1]
    assert "nothing of" in of(answers, "lag", "warning")[0]["said"]


def test_another_configuration_than_the_committed_one_is_a_warning(live):
    code, answers = doctor(live, "windows.max_events=150")
    assert code == 0
    assert "another bundle or configuration" in of(answers, "replay distance", "warning")[0]["said"]


def test_a_bundle_that_does_not_load_is_a_failure(live, tmp_path):
    code, answers = doctor(live, f"bundle={tmp_path}")
    assert code == 1
    assert of(answers, "bundle", "failed")


def test_a_transaction_that_no_one_ends_is_found_with_the_command_that_ends_it(live, kafka):
    with kafka.producer(transactional_id=kafka.name("txn"), transaction_timeout_ms=60_000) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(f"{live.outputs}.late", b"never decided").get(30)
        fresh, old = examined(live), examined(live, ahead_ms=120_000)
        producer.abort_transaction()
    state = {answer.state for answer in fresh if answer.check == "hanging transactions"}
    assert state == {State.OK}
    (found,) = [answer for answer in old if answer.check == "hanging transactions"]
    assert found.state is State.FAILED
    assert f"--topic {live.outputs}.late --partition 0" in found.hint
    assert exit_code(old) == 1


def test_a_clock_behind_the_records_is_a_warning(live):
    (answer,) = [each for each in examined(live, ahead_ms=-600_000) if each.check == "clock"]
    assert answer.state is State.WARNING
    assert "NTP" in answer.hint


@pytest.fixture
def silent() -> str:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_broker_that_never_answers_ends_in_time(live, silent):
    began = time.monotonic()
    code, answers = doctor(live, f'source.kafka.bootstrap_servers=["{silent}"]')
    assert time.monotonic() - began < 60
    assert code == 1
    assert [each["state"] for each in answers] == ["ok", "failed", *["could not ask"] * 5]


def test_a_broker_that_is_not_there_fails_and_the_rest_cannot_be_asked(live):
    code, answers = doctor(live, 'source.kafka.bootstrap_servers=["127.0.0.1:1"]')
    assert code == 1
    assert "127.0.0.1:1" in of(answers, "broker", "failed")[0]["said"]


def test_without_topics_there_is_nothing_to_ask(tmp_path: Path):
    subprocess.run([LONGWATCH, "init", tmp_path], capture_output=True, check=True)
    done = subprocess.run([LONGWATCH, "doctor", tmp_path / "pipeline.yaml"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no source.kafka" in done.stderr
