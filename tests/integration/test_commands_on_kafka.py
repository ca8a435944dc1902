"""What a person types, against a real broker: training from a topic, and errors that say what to do."""

import json
import subprocess
from pathlib import Path

import pytest

from longwatch.model.scorer import open_bundle
from support.demo import demo_frame
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, make_live, produce_lines

pytestmark = pytest.mark.broker

TINY = {"d_model": 32, "num_heads": 2, "num_kv_heads": 1, "layers": ["sliding(16)"], "block_size": 16}
QUICK = {"max_steps": 20, "tokens_per_batch": 1024, "validation_every": 10, "device": "cpu"}


def longwatch(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(LONGWATCH), *map(str, words)], capture_output=True, text=True, check=False, timeout=120)


def test_training_from_a_topic_and_from_its_file_gives_the_same_bundle(kafka: KafkaForTests, tmp_path: Path):
    lines = list(demo_frame((3, 6)).select("entity", "line").iter_rows())
    topic = kafka.create_topic(1)
    produce_lines(kafka, topic, lines, 1)
    (tmp_path / "history.log").write_text("".join(f"{line}\n" for _, line in lines))
    by_topic = make_live(kafka, tmp_path / "topic", topic).config
    by_file = tmp_path / "file.yaml"
    sections = json.loads(by_topic.read_text())
    by_file.write_text(
        json.dumps(sections | {"source": {"files": {"paths": ["history.log"]}}, "sink": {"embedded": {}}})
    )
    for name, values in (("model", TINY), ("train", QUICK)):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(values))
    recipe = ("--model-config", tmp_path / "model.yaml", "--train-config", tmp_path / "train.yaml")
    for config, out in ((by_topic, "from-topic"), (by_file, "from-file")):
        done = longwatch("train", config, *recipe, "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
    assert open_bundle(tmp_path / "from-topic").digest == open_bundle(tmp_path / "from-file").digest


def test_a_missing_topic_is_one_line_with_what_to_do(kafka: KafkaForTests, tmp_path: Path):
    live = make_live(kafka, tmp_path, "no-such-topic")
    done = longwatch("run", live.config, "--until-end")
    assert done.returncode == 1
    assert "error: topic no-such-topic does not exist" in done.stderr
    assert "hint: create it" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_output_topics_name_the_command_that_creates_them(kafka: KafkaForTests, tmp_path: Path):
    live = make_live(kafka, tmp_path, kafka.create_topic())
    done = longwatch("run", live.config, "--until-end", "--set", "sink.kafka.create_topics=false")
    assert done.returncode == 1
    assert (
        f"kafka-topics.sh --bootstrap-server {kafka.bootstrap_servers} --create --topic {live.outputs}." in done.stderr
    )


def test_a_broker_that_is_not_there_is_one_line_with_what_to_do(kafka: KafkaForTests, tmp_path: Path):
    live = make_live(kafka, tmp_path, "any")
    done = longwatch("run", live.config, "--set", 'source.kafka.bootstrap_servers=["127.0.0.1:1"]')
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "127.0.0.1:1" in done.stderr
    assert "hint: check bootstrap_servers" in done.stderr
    assert "Traceback" not in done.stderr
