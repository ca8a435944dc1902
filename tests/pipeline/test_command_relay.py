"""What `relay` and `dlq` say before they ask any broker."""

from pathlib import Path

import pytest

from longwatch.pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "configs" / "pipeline" / "relay.yaml"
UNREACHABLE = ("--set", 'source.kafka.bootstrap_servers=["127.0.0.1:1"]')


def secrets(monkeypatch: pytest.MonkeyPatch, folder: Path, **changed: str) -> Path:
    """The shipped configuration beside the secrets it names."""
    (folder / "key").write_text("signing")
    config = folder / "relay.yaml"
    config.write_text(SHIPPED.read_text().replace("/run/secrets/pager-signing-key", "key"))
    named = {
        "PAGER_TOKEN": "t0ken",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/hunter2",
        "SMTP_PASSWORD": "pw",
    }
    for name, value in (named | changed).items():
        monkeypatch.setenv(name, value)
    return config


def test_the_shipped_relay_goes_as_far_as_the_broker(monkeypatch, tmp_path: Path, capsys):
    assert main(["relay", str(secrets(monkeypatch, tmp_path)), *UNREACHABLE]) == 1
    assert "no connection to Kafka: 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "key", "words"),
    [
        ({"PAGER_TOKEN": ""}, "token_env: PAGER_TOKEN", "environment variable `PAGER_TOKEN` is not set"),
        (
            {"SLACK_WEBHOOK_URL": "https://evil.example.net/T/B/hunter2"},
            "SLACK_WEBHOOK_URL}",
            "host `evil.example.net` is not allowed",
        ),
        ({"SLACK_WEBHOOK_URL": "http://hooks.slack.com/T/B/hunter2"}, "SLACK_WEBHOOK_URL}", "scheme `http` is not"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_at_its_line(
    monkeypatch, tmp_path: Path, capsys, changed, key: str, words: str
):
    config = secrets(monkeypatch, tmp_path, **changed)
    assert main(["relay", str(config), *UNREACHABLE]) == 2
    line = next(number for number, text in enumerate(config.read_text().splitlines(), 1) if key in text)
    err = capsys.readouterr().err
    assert f"error: {config}:{line}:" in err
    assert words in err
    assert "hunter2" not in err


def test_a_configuration_without_a_relay_says_where_to_look(capsys):
    assert main(["relay", str(SHIPPED.with_name("embedded.yaml"))]) == 2
    assert "`relay` is missing" in capsys.readouterr().err


def test_validate_says_where_alerts_go_without_needing_their_secrets(capsys):
    assert main(["validate", str(SHIPPED)]) == 0
    out = capsys.readouterr().out
    assert "to pager (webhook), alertmanager (alertmanager), chat (slack), mail (smtp); given up after 1h" in out


@pytest.mark.parametrize("verb", ["list", "replay"])
def test_dlq_without_a_topic_of_dead_letters_says_so(verb: str, capsys):
    embedded = str(SHIPPED.with_name("embedded.yaml"))
    assert main(["dlq", verb, embedded, "--reason", "header_mismatch"]) == 2
    assert "no topic of the worker's dead letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dlq", "replay", "RELAY"], "say --all"),
        (["dlq", "replay", "RELAY", "--all", "--letters", "relay"], "name a topic with --to"),
        (["dlq", "list", "RELAY", "--since", "yesterday"], "`yesterday` is no time"),
        (["dlq", "list", "RELAY", "--letters", "nobody"], "Invalid value"),
        (["dlq", "empty", "RELAY"], "No such command 'empty'"),
    ],
)
def test_a_wrong_choice_of_letters_is_said(words: list[str], message: str, capsys):
    given = [str(SHIPPED) if word == "RELAY" else word for word in words]
    assert main([*given, *UNREACHABLE] if "empty" not in words else given) in (1, 2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["list", "replay"])
def test_the_help_of_dlqs_verbs_has_an_example_and_the_exit_codes(verb: str, capsys):
    assert main(["dlq", verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"longwatch dlq {verb} pipeline.yaml" in out.split("Example:")[1]
    assert "76 fenced" in out
