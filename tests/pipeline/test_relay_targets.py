"""Each kind of target against a real server on this machine: what arrives, and what each answer means."""

import hashlib
import hmac
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from longwatch.pipeline.alert_formats.choice import content_type, render
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.config import Allow, Target
from longwatch.pipeline.config.secrets import UnreadableSecretError
from longwatch.pipeline.relay.guard import Guard
from longwatch.pipeline.relay.targets import Send, open_target
from longwatch.pipeline.relay.verdict import Delivered, Refused, TryAgain
from support.alert_messages import message
from support.certificates import Certificate, make_certificate
from support.receiver import http_receiver, smtp_receiver

LOCAL = Allow(schemes=("http", "https"), private_hosts=("127.0.0.1", "localhost"))
NOW_MS = 1_795_507_500_000  # 2026-11-24T08:05:00Z
CLOCK = ManualClock(NOW_MS)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def opened(kind: str, allow: Allow = LOCAL, **settings: Any) -> Send:
    more = {"timeout": settings.pop("timeout")} if "timeout" in settings else {}
    target = Target.model_validate({"name": "t", kind: settings, **more})
    return open_target(target, allow, Guard(allow), CLOCK)


def test_a_webhook_gets_the_bytes_of_the_topic_with_key_token_and_signature(monkeypatch):
    monkeypatch.setenv("TOKEN", "s3cret")
    monkeypatch.setenv("KEY", "signing")
    sent = message(7, 2)
    with http_receiver() as receiver:
        send = opened("webhook", url=f"{receiver.url}?team=a", token_env="TOKEN", signing_key_env="KEY")
        assert send(sent) == Delivered()
        (post,) = receiver.posts
    assert (post.path, post.body, post.key) == ("/hook?team=a", sent.record.value, f"{7:032x}-2")
    assert post.headers["Authorization"] == "Bearer s3cret"
    expected = hmac.new(b"signing", post.body, hashlib.sha256).hexdigest()
    assert post.headers["X-Longwatch-Signature"] == f"sha256={expected}"
    assert post.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("form", ["ocsf", "ecs", "cloudevents"])
def test_a_webhook_gets_the_form_that_was_chosen_signed_as_it_is_sent(monkeypatch, form: str):
    monkeypatch.setenv("KEY", "signing")
    sent = message(7, 2)
    with http_receiver() as receiver:
        assert opened("webhook", url=receiver.url, format=form, signing_key_env="KEY")(sent) == Delivered()
        (post,) = receiver.posts
    assert post.body == render(sent.record.value, form)
    assert post.headers["Content-Type"] == content_type(form)
    assert post.headers["X-Longwatch-Signature"] == f"sha256={hmac.new(b'signing', post.body, 'sha256').hexdigest()}"


@pytest.mark.parametrize("status", [200, 202, 204])
def test_2xx_is_delivered(status: int):
    with http_receiver(lambda _: (status, {}, b"")) as receiver:
        assert opened("webhook", url=receiver.url)(message()) == Delivered()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_what_may_work_later_is_tried_again_when_the_target_says(status: int):
    with http_receiver(lambda _: (status, {"Retry-After": "7"}, b"busy\r\n\x1b[0m")) as receiver:
        verdict = opened("webhook", url=receiver.url)(message())
    assert isinstance(verdict, TryAgain)
    assert verdict.after_s == 7
    assert f"127.0.0.1 answered {status}: busy" in verdict.why


@pytest.mark.parametrize(
    ("status", "reason"), [(400, "rejected"), (401, "rejected"), (413, "rejected"), (304, "redirected")]
)
def test_other_answers_are_refusals(status: int, reason: str):
    with http_receiver(lambda _: (status, {}, b"")) as receiver:
        verdict = opened("webhook", url=receiver.url)(message())
    assert isinstance(verdict, Refused)
    assert verdict.reason == reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(status: int):
    with http_receiver() as metadata, http_receiver(lambda _: (status, {"Location": metadata.url}, b"")) as receiver:
        verdict = opened("webhook", url=receiver.url)(message())
        assert isinstance(verdict, Refused)
        assert verdict.reason == "redirected"
        assert metadata.posts == []


def test_no_proxy_of_the_environment_is_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http_receiver() as receiver:
        assert opened("webhook", url=receiver.url)(message()) == Delivered()


def test_an_endless_answer_is_read_only_so_far():
    with http_receiver(lambda _: (400, {}, b"x" * (64 << 20))) as receiver:
        verdict = opened("webhook", url=receiver.url)(message())
    assert isinstance(verdict, Refused)
    assert len(verdict.why) < 300


def test_a_target_that_does_not_answer_is_given_up_within_its_timeout():
    never = threading.Event()
    with http_receiver(lambda _: (200, {}, str(never.wait(3)).encode())) as receiver:
        started = time.monotonic()
        verdict = opened("webhook", url=receiver.url, timeout="300ms")(message())
        assert time.monotonic() - started < 2
    assert isinstance(verdict, TryAgain)


def test_nobody_there_is_tried_again():
    verdict = opened("webhook", url="http://127.0.0.1:1/")(message())
    assert isinstance(verdict, TryAgain)
    assert "ConnectionRefusedError" in verdict.why


def test_a_private_address_is_refused_though_its_host_is_on_the_list():
    with http_receiver() as receiver:
        allow = Allow(schemes=("http",), hosts=("localhost",))
        verdict = opened("webhook", allow, url=f"http://localhost:{receiver.port}/")(message())
        assert receiver.posts == []
    assert isinstance(verdict, Refused)
    assert (verdict.reason, "loopback address" in verdict.why) == ("address_refused", True)


def test_tls_is_verified(certificate: Certificate):
    with http_receiver(tls=certificate.server) as receiver:
        assert opened("webhook", url=receiver.url, ca_file=str(certificate.file))(message()) == Delivered()
        verdict = opened("webhook", url=receiver.url)(message())
    assert isinstance(verdict, TryAgain)
    assert "CERTIFICATE_VERIFY_FAILED" in verdict.why
    assert len(receiver.posts) == 1


def test_the_host_of_the_certificate_is_compared(tmp_path: Path):
    other = make_certificate(tmp_path, "DNS:other.example.com")
    with http_receiver(tls=other.server) as receiver:
        verdict = opened("webhook", url=receiver.url, ca_file=str(other.file))(message())
    assert isinstance(verdict, TryAgain)
    assert "IP address mismatch" in verdict.why


def test_alertmanager_sees_one_alert_from_open_to_close():
    with http_receiver() as receiver:
        send = opened("alertmanager", url=f"http://127.0.0.1:{receiver.port}/am/", hold="1h")
        for revision, lifecycle in enumerate(("open", "update", "close")):
            assert send(message(1, revision, lifecycle=lifecycle)) == Delivered()
        posts = receiver.posts
    assert {post.path for post in posts} == {"/am/api/v2/alerts"}
    alerts = [json.loads(post.body)[0] for post in posts]
    assert len({json.dumps(each["labels"]) for each in alerts}) == 1
    assert alerts[0]["labels"] == {
        "alertname": "longwatch",
        "alert_id": f"{1:032x}",
        "rule": "default",
        "kind": "window",
        "entity": "web-1",
        "topic": "logs",
    }
    assert {each["startsAt"] for each in alerts} == {"2026-11-24T08:00:00.000Z"}
    ends = [each["endsAt"] for each in alerts]
    assert ends == ["2026-11-24T09:05:00.000Z"] * 2 + ["2026-11-24T08:05:00.000Z"]


def test_slack_gets_text_in_which_nothing_of_a_log_is_markup(monkeypatch):
    evil = "<!channel> @here `x` *b* <http://evil|ok> \x1b[2J\u202e"
    with http_receiver() as receiver:
        monkeypatch.setenv("SLACK", receiver.url)
        assert opened("slack", url_env="SLACK")(message(entity="<@U1>", line=evil)) == Delivered()
        text = json.loads(receiver.posts[0].body)["text"]
    assert "<" not in text
    assert ">" not in text.replace("&gt;", "")
    assert "@here" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("*") == 2
    assert text.count("`") == 6


def test_mail_goes_through_starttls_with_a_login_and_a_stable_id(certificate: Certificate, monkeypatch):
    monkeypatch.setenv("PASSWORD", "pw")
    with smtp_receiver(certificate.server) as box:
        mail = {"host": "127.0.0.1", "port": box.port, "from": "longwatch@example.com", "to": ["ops@example.com"]}
        login = {"username": "me", "password_env": "PASSWORD", "ca_file": str(certificate.file)}
        send = opened("smtp", **mail, **login)
        assert send(message(3, 1, entity="web\r\nBcc: evil@example.com")) == Delivered()
    words = [command.split()[0].upper() for command in box.commands]
    assert words.index("STARTTLS") < words.index("AUTH") < words.index("MAIL")
    (sent,) = box.mails
    headers = sent.split("\r\n\r\n")[0]
    assert f"Message-ID: <{3:032x}-1@longwatch.invalid>" in headers
    assert f"Idempotency-Key: {3:032x}-1" in headers
    assert "\r\nBcc" not in headers
    assert [command for command in box.commands if command.upper().startswith("RCPT")] == ["rcpt TO:<ops@example.com>"]


def test_mail_is_never_sent_in_clear_where_tls_was_asked_for(certificate: Certificate):
    with smtp_receiver() as box:
        mail = {"host": "127.0.0.1", "port": box.port, "from": "a@example.com", "to": ["b@example.com"]}
        verdict = opened("smtp", **mail)(message())
    assert isinstance(verdict, TryAgain)
    assert box.mails == []
    with smtp_receiver(certificate.server) as box:
        verdict = opened("smtp", **(mail | {"port": box.port}))(message())
    assert isinstance(verdict, TryAgain)
    assert "CERTIFICATE_VERIFY_FAILED" in verdict.why
    assert box.mails == []


@pytest.mark.parametrize(
    ("replies", "kind", "words"),
    [
        ({"MAIL": "451 later"}, TryAgain, "451: later"),
        ({"MAIL": "550 no"}, Refused, "550: no"),
        ({"RCPT": "550 no such user"}, Refused, "550 no such user"),
        ({"RCPT": "450 busy"}, TryAgain, "450 busy"),
        ({"DATA": "554 spam"}, Refused, "554: spam"),
    ],
)
def test_a_mail_servers_4xx_may_work_later_and_its_5xx_will_not(replies: dict[str, str], kind: type, words: str):
    with smtp_receiver(**replies) as box:
        mail = {"host": "127.0.0.1", "port": box.port, "tls": "none", "from": "a@example.com", "to": ["b@example.com"]}
        verdict = opened("smtp", **mail)(message())
    assert isinstance(verdict, kind)
    assert words in verdict.why


@pytest.mark.parametrize(
    ("settings", "at", "words"),
    [
        ({"url_env": "NOT_SET"}, ("webhook", "url_env"), "is not set"),
        ({"url_env": "OUTSIDE"}, ("webhook", "url_env"), "host `evil.example.com` is not allowed"),
        ({"url": "https://127.0.0.1/", "token_file": "/nowhere"}, ("webhook", "token_file"), "cannot read the secret"),
        ({"url": "https://127.0.0.1/", "token_env": "TWO_LINES"}, ("webhook", "token_env"), "no header may"),
        ({"url": "https://127.0.0.1/", "ca_file": "/nowhere"}, ("webhook", "ca_file"), "cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_by_its_place(monkeypatch, settings, at, words: str):
    monkeypatch.setenv("OUTSIDE", "https://evil.example.com/T123")
    monkeypatch.setenv("TWO_LINES", "a\r\nX-Evil: 1")
    with pytest.raises(UnreadableSecretError) as caught:
        opened("webhook", **settings)
    assert caught.value.problem.at == at
    assert words in caught.value.problem.message
    assert "T123" not in caught.value.problem.message
