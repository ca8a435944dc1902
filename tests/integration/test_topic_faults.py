"""What is done to the input topic under a worker is said, and never mixes two logs."""

from pathlib import Path

import pytest
from kafka import TopicPartition

from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import end, make_live, produce_lines, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


def lines(first: int, last: int) -> list[tuple[str, str]]:
    return list(demo_frame((9, 10))[first:last].select("entity", "line").iter_rows())


def test_a_topic_made_again_under_a_worker_is_announced_and_then_read_as_another_log(
    kafka: KafkaForTests, tmp_path: Path
):
    topic = kafka.create_topic()
    produce_lines(kafka, topic, lines(0, 200), 1)
    live = make_live(kafka, tmp_path / "live", topic)
    worker = live.start(until_end=False)
    try:
        wait_until(lambda: live.committed_records() == 200, live)
        before = {alert.source.topic_id for alert in live.alerts()}
        kafka.delete_topic(topic)
        kafka.create_topic(name=topic)
        # More than before, so that the old position is inside the new log.
        produce_lines(kafka, topic, lines(200, 500), 1)
        assert worker.wait(40) == 75, live.log.read_text()
    finally:
        end(worker)
    assert "was made again while it was read" in live.log.read_text()
    assert {alert.source.topic_id for alert in live.alerts()} == before

    live.run()
    calm = make_live(kafka, tmp_path / "calm", topic)
    calm.run()
    again = [alert for alert in live.alerts() if alert.source.topic_id not in before]
    assert sorted((a.alert_id, a.revision, a.window, a.partial) for a in again) == sorted(
        (a.alert_id, a.revision, a.window, a.partial) for a in calm.alerts()
    )
    assert again


def test_a_log_that_starts_behind_the_replay_point_is_announced_and_its_alerts_are_partial(
    kafka: KafkaForTests, tmp_path: Path
):
    topic = kafka.create_topic()
    produce_lines(kafka, topic, lines(0, 300), 1)
    # No silence closes windows here: all are open when the first worker stops.
    windows = {"max_events": 40, "overlap": 0, "idle_gap": "5h", "max_duration": "7d"}
    live = make_live(kafka, tmp_path, topic, {"windows": windows})
    live.run()
    assert live.committed_records() == 300
    assert not any(alert.partial for alert in live.alerts())
    before = {(alert.alert_id, alert.revision) for alert in live.alerts()}

    with kafka.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 100})
    produce_lines(kafka, topic, lines(300, 600), 1)
    live.run()
    said = live.log.read_text()
    assert "event=history_truncated" in said
    assert "first_kept=100" in said
    after = [alert for alert in live.alerts() if (alert.alert_id, alert.revision) not in before]
    # Read again from 100 to 300 are windows that began there, or before: of which, nobody can say any more.
    assert {alert.partial for alert in after if alert.window.first_offset < 300} == {True}
    assert {alert.partial for alert in after if alert.window.first_offset >= 300} == {False}
