"""The relay section: what it allows, and what it refuses at its place in the file."""

from pathlib import Path

import pytest

from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.config.base import Problem
from longwatch.pipeline.config.load import error_at
from longwatch.pipeline.errors import ConfigError

HEAD = """\
pipeline: app
source: {kafka: {bootstrap_servers: ["127.0.0.1:9092"], topic: logs}}
format: {rfc5424: {}}
entity: {field: host}
sink: {kafka: {}}
"""
RELAY = """\
relay:
  allow:
    hosts: [hooks.example.com, '*.chat.example.com']
    private_hosts: [alertmanager.internal]
  targets:
    - name: pager
      webhook:
        url: https://hooks.example.com/alerts
"""
HERE = len((HEAD + RELAY).splitlines())


def load(folder: Path, relay: str = RELAY, head: str = HEAD) -> Config:
    path = folder / "pipeline.yaml"
    path.write_text(head + relay)
    return load_config(path)


def test_every_kind_of_target_is_read_and_the_dump_loads_to_the_same(tmp_path: Path):
    more = """\
    - {name: am, lifecycle: [open, close], alertmanager: {url: 'https://alertmanager.internal:9093', token_env: T}}
    - {name: chat, slack: {url_file: slack-url}}
    - {name: mail, smtp: {host: mx.chat.example.com, from: a@b.c, to: [d@e.f], username: a, password_env: P}}
"""
    loaded = load(tmp_path, RELAY + more)
    assert loaded.relay is not None
    assert [target.kind for target in loaded.relay.targets] == ["webhook", "alertmanager", "slack", "smtp"]
    (tmp_path / "dumped.yaml").write_text(loaded.to_yaml())
    assert load_config(tmp_path / "dumped.yaml") == loaded


def test_the_relay_does_not_change_the_digest_of_scores(tmp_path: Path):
    assert load(tmp_path).digest == load(tmp_path, "").digest


def test_secrets_are_not_read_by_those_who_do_not_deliver(tmp_path: Path):
    load(tmp_path, RELAY + "        token_env: NOT_SET_ANYWHERE\n        signing_key_file: /nowhere\n")


@pytest.mark.parametrize("key", ["token", "signing_key", "api_key", "client_secret"])
def test_a_literal_secret_is_refused_at_its_line_and_column_and_not_repeated(tmp_path: Path, key: str):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{RELAY}        {key}: hunter2\n")
    assert (caught.value.line, caught.value.column) == (HERE + 1, 9)
    assert "hunter2" not in str(caught.value)
    assert f"use `{key}_file` or `{key}_env`" in caught.value.hint


def test_a_literal_mail_password_is_refused(tmp_path: Path):
    mail = (
        "    - {name: m, smtp: {host: hooks.example.com, from: a@b.c, to: [a@b.c], username: u, password: hunter2}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, RELAY + mail)
    assert "a secret is written out as `password`" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_slack_address_in_the_file_is_refused_and_not_repeated(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, RELAY + "    - {name: s, slack: {url: 'https://hooks.slack.com/services/T0/B0/hunter2'}}\n")
    assert "unknown key `url`" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "url_env" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://evil.example.com/", "host `evil.example.com` is not allowed"),
        ("https://chat.example.com/", "host `chat.example.com` is not allowed"),
        ("https://hooks.example.com.evil.net/", "is not allowed"),
        ("https://hooks.example.com@evil.net/", "a secret is written into the address"),
        ("https://me:hunter2@hooks.example.com/", "a secret is written into the address"),
        ("https://hooks.example.com/?token=hunter2", "a secret is written into the address"),
        ("http://hooks.example.com/", "scheme `http` is not allowed"),
        ("file:///etc/passwd", "this is not a web address"),
        ("https://hooks.example.com:99999/", "this is not a web address"),
        ("https://hooks.example.com/ x", "this is not a web address"),
        ("hooks.example.com", "this is not a web address"),
        ("https://169.254.169.254/latest", "host `169.254.169.254` is not allowed"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused_at_its_place(tmp_path: Path, url: str, words: str):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, RELAY.replace("https://hooks.example.com/alerts", f"'{url}'"))
    assert (caught.value.line, caught.value.column) == (HERE, 14)
    assert "relay.targets.0.webhook.url" in caught.value.message
    assert words in caught.value.message
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com", "https://a.b.chat.example.com/x", "https://HOOKS.example.com.:8443/x"]
)
def test_an_address_on_the_list_is_taken(tmp_path: Path, url: str):
    load(tmp_path, RELAY.replace("https://hooks.example.com/alerts", url))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("targets:\n", "targets:\n    - {name: pager, slack: {url_env: S}}\n", "target `pager` is here twice"),
        ("url: https://hooks.example.com/alerts", "{}", "write exactly one of url, url_env, url_file"),
        ("        url:", "        url_env: U\n        url:", "write exactly one of url, url_env, url_file"),
        ("      webhook:\n        url: https://hooks.example.com/alerts\n", "", "write exactly one of webhook"),
        (
            "  allow:",
            "  dead_letters: {topic: longwatch.alerts}\n  allow:",
            "topic `longwatch.alerts` is also sink.kafka.alerts",
        ),
        ("  allow:", "  retry: {first: 2m}\n  allow:", "first 2m is over longest 1m"),
        (
            "    private_hosts",
            "    schemes: [http]\n    private_hosts",
            "scheme `https` is not allowed",
        ),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, old: str, new: str, words: str):
    assert old in RELAY
    with pytest.raises(ConfigError, match=r"(?s).*") as caught:
        load(tmp_path, RELAY.replace(old, new))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("webhook: {url: 'http://hooks.example.com/', token_env: T}", "a secret would travel unencrypted"),
        ("smtp: {host: hooks.example.com, tls: none, from: a@b.c, to: [a@b.c]}", "mail would travel unencrypted"),
        ("smtp: {host: mx.evil.net, from: a@b.c, to: [a@b.c]}", "host `mx.evil.net` is not allowed"),
        ("smtp: {host: hooks.example.com, from: a@b.c, to: [a@b.c], username: me}", "belong together"),
        ('smtp: {host: hooks.example.com, from: "a@b.c\\r\\nBcc: x@y.z", to: [a@b.c]}', "should match pattern"),
    ],
)
def test_nothing_travels_in_clear_or_where_it_may_not(tmp_path: Path, target: str, words: str):
    more = RELAY.replace("    private_hosts", "    schemes: [https, http]\n    private_hosts")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{more}    - {{name: t, {target}}}\n")
    assert words in str(caught.value)


def test_a_relay_needs_the_topic_of_alerts(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"`relay` reads the topic of `sink\.kafka`, found `sink\.embedded`"):
        load(tmp_path, head=HEAD.replace("sink: {kafka: {}}", "sink: {embedded: {}}"))


def test_a_problem_found_later_is_still_at_its_line(tmp_path: Path):
    load(tmp_path)
    error = error_at(tmp_path / "pipeline.yaml", Problem("no", "do", ("relay", "targets", 0, "webhook", "url")))
    assert (error.line, error.column) == (HERE, 14)
