"""Dead letters of a real worker: listed, put back, and never in a circle."""

import subprocess
from pathlib import Path

import pytest

from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, Live, make_live

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

BAD = [b"no header here", b"nor \x1b[31mhere", None, b"x" * (600 * 1024)]
NOW_MS = 1_795_000_000_000


def dlq(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(LONGWATCH), "dlq", *map(str, words)], capture_output=True, text=True, timeout=60)


def lines(*words: object) -> list[str]:
    done = dlq(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def live(kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """A worker that has put four records aside, two of them in the second partition."""
    topic = kafka.create_topic(2)
    made = make_live(kafka, tmp_path_factory.mktemp("dlq"), topic)
    kafka.produce(topic, [(b"a", BAD[0], NOW_MS), (b"a", BAD[2], NOW_MS)], partition=0)
    kafka.produce(topic, [(b"b", BAD[1], NOW_MS), (b"b", BAD[3], NOW_MS)], partition=1)
    made.run()
    return made


def test_letters_are_listed_with_position_reason_origin_and_a_safe_preview(live: Live):
    shown = lines("list", live.config)
    assert shown[-1] == "4 dead letters"
    assert len(shown) == 5
    assert all(line.startswith(f"{live.outputs}.dlq[0]@") for line in shown[:-1])
    (of_second,) = [line for line in shown if f"{live.topic}[1]@0" in line]
    assert "header_mismatch" in of_second
    assert "nor \\x1b[31mhere" in of_second


def test_filters_narrow_the_list(live: Live):
    assert lines("list", live.config, "--reason", "empty_record")[-1] == "1 dead letters"
    assert lines("list", live.config, "--partition", "1")[-1] == "2 dead letters"
    assert lines("list", live.config, "--since", "2099-01-01")[-1] == "0 dead letters"
    assert lines("list", live.config, "--limit", "1")[-1].startswith("1 dead letters; there are more")
    position = lines("list", live.config)[0].split()[0]
    assert lines("list", live.config, "--at", position)[0].startswith(position)


def test_a_replay_must_be_told_which_and_may_not_go_in_a_circle(live: Live):
    done = dlq("replay", live.config)
    assert (done.returncode, "say --all" in done.stderr) == (2, True)
    done = dlq("replay", live.config, "--all", "--to", f"{live.outputs}.dlq")
    assert (done.returncode, "holds the dead letters themselves" in done.stderr) == (2, True)
    done = dlq("replay", live.config, "--all", "--to", "no-such-topic")
    assert (done.returncode, "no-such-topic does not exist" in done.stderr) == (1, True)


def test_a_dry_run_writes_nothing_and_a_replay_the_original_bytes(kafka: KafkaForTests, live: Live):
    other = kafka.create_topic()
    shown = lines("replay", live.config, "--all", "--to", other, "--dry-run")
    assert shown[-1].startswith("nothing was written")
    assert kafka.read(other) == []
    shown = lines("replay", live.config, "--all", "--to", other)
    assert shown[-1] == f"3 dead letters replayed to {other}; 1 left out: not all of its bytes are there"
    records = kafka.read(other)
    assert sorted(record.value for record in records) == sorted([BAD[0], BAD[1], b""])
    assert {record.key for record in records} == {b"a", b"b"}
    for record in records:
        headers = dict(record.headers)
        assert headers["longwatch.replays"] == b"1"
        assert headers["longwatch.replayed_from"].startswith(f"{live.outputs}.dlq[0]@".encode())


def test_a_record_that_fails_again_and_again_is_put_back_only_so_often(kafka: KafkaForTests, tmp_path: Path):
    live = make_live(kafka, tmp_path, kafka.create_topic(2))
    kafka.produce(live.topic, [(b"a", BAD[0], NOW_MS)], partition=1)
    live.run()
    for expected in ("1 dead letters replayed", "1 dead letters replayed", "0 dead letters replayed"):
        newest = lines("list", live.config)[-2].split()[0]
        shown = lines("replay", live.config, "--at", newest, "--max-replays", "2")
        assert shown[-1].startswith(expected)
        live.run()
    assert shown[-1].endswith("1 left out: replayed 2 times already")
    counts = [dict(record.headers).get("longwatch.replays") for record in kafka.read(live.topic)]
    assert counts == [None, b"1", b"2"]
    assert {record.partition for record in kafka.read(live.topic)} == {1}


def test_a_configuration_without_relay_says_so(live: Live):
    done = dlq("list", live.config, "--letters", "relay")
    assert done.returncode == 2
    assert "no topic of the relay's dead letters" in done.stderr
