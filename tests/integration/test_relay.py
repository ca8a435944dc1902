"""The relay on a real broker, its processes killed and its targets failing: at least once, and always the same key."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.alert_messages import alert
from support.kafka_broker import KafkaForTests
from support.live import LONGWATCH, make_live
from support.receiver import OK, Answer, Post, Receiver, http_receiver

HELD = 60
IN_FLIGHT = 4

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Relayed:
    """A pipeline's alerts topic and its relay."""

    kafka: KafkaForTests
    config: Path
    alerts: str
    letters: str
    group: str

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen([str(LONGWATCH), "relay", str(self.config), *words], stdout=log, stderr=log)

    def run(self, *words: str) -> None:
        """From start to the end of what is there."""
        assert self.start("--until-end", *words).wait(timeout=90) == 0, self.said()

    @property
    def log(self) -> Path:
        return self.config.parent / "relay.log"

    def said(self) -> str:
        return self.log.read_text()[-6000:]

    def produce(self, values: Iterable[bytes]) -> None:
        self.kafka.produce(self.alerts, [(None, value, 1_795_000_000_000) for value in values])

    def committed(self) -> int:
        with self.kafka.admin() as admin:
            return sum(at.offset for at in admin.list_group_offsets([self.group])[self.group].values())

    def dead(self) -> list[dict[str, str]]:
        return [
            {name.removeprefix("longwatch."): value.decode() for name, value in letter.headers}
            for letter in self.kafka.read(self.letters)
        ]


def relayed(kafka: KafkaForTests, folder: Path, *receivers: Receiver | dict[str, object], **section: object) -> Relayed:
    """A relay with a target `t0`, `t1` ... for each receiver."""
    targets = [
        {"name": f"t{place}", **({"webhook": {"url": each.url}} if isinstance(each, Receiver) else each)}
        for place, each in enumerate(receivers)
    ]
    letters = kafka.name("relay-letters")
    relay = {
        "allow": {"schemes": ["http"], "private_hosts": ["127.0.0.1"]},
        "targets": targets,
        "retry": {"first": "20ms", "longest": "200ms"},
        "commit_interval": "50ms",
        "dead_letters": {"topic": letters},
    } | section
    live = make_live(kafka, folder, kafka.create_topic(), {"relay": relay})
    kafka.create_topic(name=f"{live.outputs}.alerts")
    return Relayed(
        kafka,
        live.config,
        f"{live.outputs}.alerts",
        letters,
        json.loads(live.config.read_text())["pipeline"] + ".relay",
    )


def life(number: int) -> list[bytes]:
    """Open, update and close of one alert."""
    return [alert(number, revision, name).encode() for revision, name in enumerate(("open", "update", "close"))]


def interleaved(alerts: int) -> list[bytes]:
    return [value for values in zip(*(life(number) for number in range(alerts)), strict=True) for value in values]


def first_seen(keys: list[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def test_every_message_reaches_every_target_in_the_order_of_its_alert(kafka: KafkaForTests, tmp_path: Path):
    with http_receiver() as one, http_receiver() as two:
        relay = relayed(kafka, tmp_path, one, two)
        relay.produce(interleaved(20))
        relay.run()
        for receiver in (one, two):
            keys = receiver.keys()
            assert len(keys) == 60
            for number in range(20):
                own = [key for key in keys if key.startswith(f"{number:032x}")]
                assert own == [f"{number:032x}-{revision}" for revision in range(3)]
        relay.run()
        assert (len(one.keys()), len(two.keys()), relay.committed()) == (60, 60, 60)


def test_a_kill_in_mid_delivery_delivers_again_under_the_same_keys_and_loses_nothing(
    kafka: KafkaForTests, tmp_path: Path
):
    sent = interleaved(40)
    expected = {f"{number:032x}-{revision}" for number in range(40) for revision in range(3)}
    reached = threading.Event()
    hold = threading.Event()

    def answer(_: Post) -> Answer:
        # Half of them are answered, the rest are under way when the kill comes.
        if len(receiver.posts) > HELD and not hold.is_set():
            reached.set()
            hold.wait(30)
        return OK

    with http_receiver(answer) as receiver:
        relay = relayed(kafka, tmp_path, receiver)
        relay.produce(sent)
        process = relay.start("--instance", "r1")
        assert reached.wait(60), relay.said()
        process.kill()
        process.wait()
        committed = relay.committed()
        hold.set()
        assert committed < len(sent)
        relay.run("--instance", "r1")
        keys = receiver.keys()
    assert set(keys) == expected
    assert len(keys) - len(expected) <= HELD + IN_FLIGHT - committed, "only what was not committed comes again"
    for number in range(40):
        own = first_seen([key for key in keys if key.startswith(f"{number:032x}")])
        assert own == [f"{number:032x}-{revision}" for revision in range(3)]
    assert relay.dead() == []


def test_500s_and_then_a_recovery_lose_nothing_and_put_nothing_aside(kafka: KafkaForTests, tmp_path: Path):
    def answer(_: Post) -> Answer:
        return (500, {}, b"down") if len(receiver.posts) <= 40 else OK

    with http_receiver(answer) as receiver:
        relay = relayed(kafka, tmp_path, receiver)
        relay.produce(interleaved(10))
        relay.run()
        counts = Counter(receiver.keys())
    assert len(counts) == 30
    assert relay.committed() == 30
    assert relay.dead() == []


def test_what_cannot_be_delivered_is_a_dead_letter_once_and_its_neighbours_arrive(kafka: KafkaForTests, tmp_path: Path):
    poison = [b"\xff\x00", b"{}", alert(7, lifecycle="open").encode().replace(b"alert/1", b"alert/9")]
    good = life(1)

    def answer(post: Post) -> Answer:
        return (422, {}, b"no \x1b[31m") if post.key.endswith("-1") else OK

    with http_receiver(answer) as receiver:
        relay = relayed(kafka, tmp_path, receiver)
        relay.produce([poison[0], good[0], poison[1], good[1], poison[2], good[2]])
        relay.run()
        relay.run()
        assert receiver.keys() == [f"{1:032x}-{revision}" for revision in range(3)]
    letters = relay.dead()
    assert [(each["offset"], each["reason"], each["target"]) for each in letters] == [
        ("0", "not_an_alert", ""),
        ("2", "not_an_alert", ""),
        ("3", "rejected", "t0"),
        ("4", "unknown_schema", ""),
    ]
    assert "\x1b" not in letters[2]["detail"]
    assert [letter.value for letter in kafka.read(relay.letters)] == [*poison[:2], good[1], poison[2]]
    words = [str(LONGWATCH), "dlq", "list", str(relay.config), "--letters", "relay", "--reason", "rejected"]
    listed = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert f"rejected for t0  {relay.alerts}[0]@3" in listed.stdout
    assert listed.stdout.endswith("1 dead letters\n")


def test_dead_letters_can_be_lines_of_a_file(kafka: KafkaForTests, tmp_path: Path):
    with http_receiver(lambda _: (400, {}, b"")) as receiver:
        relay = relayed(kafka, tmp_path, receiver, dead_letters={"file": "letters.jsonl"})
        relay.produce(life(1)[:1])
        relay.run()
    (line,) = map(json.loads, (tmp_path / "letters.jsonl").read_text().splitlines())
    assert (line["reason"], line["offset"], line["target"]) == ("rejected", "0", "t0")


def test_a_redirect_and_a_private_address_are_refused(kafka: KafkaForTests, tmp_path: Path):
    with http_receiver() as metadata, http_receiver(lambda _: (302, {"Location": metadata.url}, b"")) as redirecting:
        inside = {"webhook": {"url": f"http://localhost:{metadata.port}/"}}
        allow = {"schemes": ["http"], "hosts": ["localhost"], "private_hosts": ["127.0.0.1"]}
        relay = relayed(kafka, tmp_path, redirecting, inside, allow=allow)
        relay.produce(life(1)[:1])
        relay.run()
        assert metadata.posts == []
    letters = {each["target"]: each for each in relay.dead()}
    assert {name: each["reason"] for name, each in letters.items()} == {"t0": "redirected", "t1": "address_refused"}
    assert "loopback address" in letters["t1"]["detail"]


def test_a_dead_target_does_not_stop_the_others_before_the_bound_and_catches_up(kafka: KafkaForTests, tmp_path: Path):
    healthy = threading.Event()
    with http_receiver() as good, http_receiver(lambda _: OK if healthy.is_set() else (503, {}, b"")) as bad:
        relay = relayed(kafka, tmp_path, good, bad, pending={"messages": 50}, retry={"first": "20ms", "longest": "1s"})
        relay.produce([value for number in range(100) for value in life(number)])
        process = relay.start("--instance", "r1")
        good.wait_for(lambda: len(good.posts) >= 50)
        assert relay.committed() <= 0
        held = len(good.posts)
        assert held <= 200, "no further ahead than the bound and one poll"
        healthy.set()
        good.wait_for(lambda: len(good.posts) >= 300)
        bad.wait_for(lambda: len({post.key for post in bad.posts}) >= 300)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, relay.said()
    assert relay.committed() == 300
    assert relay.dead() == []


def test_sigterm_drains_within_5_seconds_though_a_target_hangs(kafka: KafkaForTests, tmp_path: Path):
    release = threading.Event()

    def hangs(_: Post) -> Answer:
        release.wait(60)
        return OK

    with http_receiver(hangs) as stuck, http_receiver() as good:
        relay = relayed(kafka, tmp_path, stuck, good)
        relay.produce(life(1))
        process = relay.start("--instance", "r1")
        stuck.wait_for(lambda: stuck.posts)
        good.wait_for(lambda: len(good.posts) == 3)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, relay.said()
        assert time.monotonic() - started < 5
        assert relay.committed() <= 0
        release.set()
        relay.run("--instance", "r1")
        assert set(stuck.keys()) == {f"{1:032x}-{revision}" for revision in range(3)}


def test_a_second_relay_shares_the_partitions_and_nothing_is_lost_when_it_leaves(kafka: KafkaForTests, tmp_path: Path):
    with http_receiver() as receiver:
        relay = relayed(kafka, tmp_path, receiver)
        first = relay.start()
        relay.produce(interleaved(10))
        receiver.wait_for(lambda: len(set(receiver.keys())) == 30)
        second = relay.start("--max-seconds", "6")
        assert second.wait(40) == 0, relay.said()
        relay.produce([value for number in range(10, 20) for value in life(number)])
        receiver.wait_for(lambda: len(set(receiver.keys())) == 60, 60)
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0, relay.said()
    assert relay.committed() == 60


def test_a_secret_that_is_missing_is_named_at_its_line_before_anything_is_read(kafka: KafkaForTests, tmp_path: Path):
    relay = relayed(kafka, tmp_path, {"slack": {"url_env": "LONGWATCH_TEST_NOT_SET"}})
    assert relay.start().wait(30) == 2
    said = relay.said()
    assert f"error: {relay.config}:1:" in said
    assert "relay.targets.0.slack.url_env: environment variable `LONGWATCH_TEST_NOT_SET` is not set" in said


@pytest.mark.slow
def test_a_broker_that_restarts_in_mid_stream_costs_no_message(kafka: KafkaForTests, tmp_path: Path):
    with http_receiver() as receiver:
        relay = relayed(kafka, tmp_path, receiver)
        relay.produce(interleaved(10))
        process = relay.start("--instance", "r1")
        receiver.wait_for(lambda: receiver.posts)
        kafka.broker.restart()  # type: ignore[attr-defined]
        relay.produce([value for number in range(10, 20) for value in life(number)])
        if process.poll() is None:
            receiver.wait_for(
                lambda: len({post.key for post in receiver.posts}) == 60 or process.poll() is not None, 90
            )
            process.send_signal(signal.SIGTERM)
        # A commit that the restart cut, and that cannot be asked about yet, is left to the next process.
        assert process.wait(30) in (0, 75), relay.said()
        relay.run("--instance", "r1")
        keys = receiver.keys()
    assert len(set(keys)) == 60
    assert relay.committed() == 60
    assert relay.dead() == []
