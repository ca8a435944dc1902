"""A real worker over TLS to a broker that asks who it is: each login works, each wrong one says what to do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from longwatch.pipeline.config import load_config
from longwatch.pipeline.errors import BrokerRefusedError, ConfigError
from longwatch.pipeline.kafka_topics import describe_topic
from longwatch.pipeline.kafka_worker import kafka_settings
from support.demo import demo_frame
from support.live import Live, make_live
from support.secure_broker import (
    CLIENT_SECRET,
    PASSWORD,
    USER,
    SecureKafka,
    secure_broker,
    token_endpoint,
    unsigned_token,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

NOW_MS = 1_795_000_000_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_broker(tmp_path_factory.mktemp("secure")) as made:
        yield made


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LW_PASSWORD", PASSWORD)
    monkeypatch.setenv("LW_WRONG", "not-it-at-all")
    monkeypatch.setenv("LW_CLIENT_SECRET", CLIENT_SECRET)


def login(broker: SecureKafka, mechanism: str, password: str = "LW_PASSWORD", **more: Any) -> dict[str, Any]:
    user = {"sasl_plain_username": USER, "sasl_plain_password_env": password} if mechanism != "OAUTHBEARER" else {}
    base = {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism, "ssl_cafile": str(broker.server.file)}
    return base | user | more


def certificate(broker: SecureKafka, **more: Any) -> dict[str, Any]:
    own = {"ssl_certfile": str(broker.client.file), "ssl_keyfile": str(broker.client_key)}
    return {"security_protocol": "SSL", "ssl_cafile": str(broker.server.file)} | own | more


def pipeline(broker: SecureKafka, folder: Path, servers: str, client: dict[str, Any]) -> Live:
    topic = broker.plain.create_topic()
    source = {"kafka": {"bootstrap_servers": [servers], "topic": topic, "client": client}}
    return make_live(broker.plain, folder, topic, {"source": source})


def works(live: Live) -> None:
    """A worker reads, scores and commits: consumer, producer, transactions and admin all got in."""
    lines = demo_frame((9, 10))["line"].head(400)
    live.kafka.produce(live.topic, [(b"k", line.encode(), NOW_MS) for line in lines])
    live.run()
    assert live.committed_records() == 400
    log = live.log.read_text()
    assert not any(secret in log for secret in (PASSWORD, CLIENT_SECRET))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_worker_logs_in_by_password_over_tls(broker: SecureKafka, tmp_path: Path, mechanism: str):
    works(pipeline(broker, tmp_path, broker.secure, login(broker, mechanism)))


def test_a_worker_shows_its_certificate(broker: SecureKafka, tmp_path: Path):
    works(pipeline(broker, tmp_path, broker.mutual, certificate(broker)))


def test_a_worker_logs_in_with_a_token_of_an_identity_provider(broker: SecureKafka, tmp_path: Path):
    with token_endpoint() as endpoint:
        oauth = {"sasl_oauth_endpoint": endpoint.url, "sasl_oauth_client_id": "longwatch"}
        client = login(broker, "OAUTHBEARER", **oauth, sasl_oauth_client_secret_env="LW_CLIENT_SECRET")
        works(pipeline(broker, tmp_path, broker.secure, client))
        assert 1 <= endpoint.asked <= 5


def asked(broker: SecureKafka, folder: Path, servers: str, client: dict[str, Any]) -> None:
    """The first thing any command asks of the broker."""
    live = pipeline(broker, folder, servers, client)
    describe_topic(kafka_settings(load_config(live.config)), live.topic)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_each_password_mechanism_gets_in(broker: SecureKafka, tmp_path: Path, mechanism: str):
    asked(broker, tmp_path, broker.secure, login(broker, mechanism))


def test_a_token_is_read_from_its_file_at_each_connection(broker: SecureKafka, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(unsigned_token(USER))
    asked(broker, tmp_path, broker.secure, login(broker, "OAUTHBEARER", sasl_oauth_token_file=str(token)))
    token.write_text("")
    with pytest.raises(BrokerRefusedError, match="is empty"):
        asked(broker, tmp_path, broker.secure, login(broker, "OAUTHBEARER", sasl_oauth_token_file=str(token)))


def test_a_wrong_password_is_refused_by_name_and_never_shown(broker: SecureKafka, tmp_path: Path):
    with pytest.raises(BrokerRefusedError, match="SaslAuthenticationFailed") as caught:
        asked(broker, tmp_path, broker.secure, login(broker, "SCRAM-SHA-512", "LW_WRONG"))
    assert "not-it-at-all" not in str(caught.value)
    assert "source.kafka.client" in caught.value.hint


def test_a_wrong_client_secret_is_the_identity_providers_refusal(broker: SecureKafka, tmp_path: Path):
    with token_endpoint() as endpoint:
        oauth = {"sasl_oauth_endpoint": endpoint.url, "sasl_oauth_client_id": "longwatch"}
        client = login(broker, "OAUTHBEARER", **oauth, sasl_oauth_client_secret_env="LW_WRONG")
        with pytest.raises(BrokerRefusedError, match="answered 401: invalid_client") as caught:
            asked(broker, tmp_path, broker.secure, client)
    assert "not-it-at-all" not in str(caught.value)


NOT_ACCEPTED = "does not accept this client"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("another authority", "its certificate is not accepted"),
        ("no certificate", NOT_ACCEPTED),
        ("another certificate", NOT_ACCEPTED),
    ],
)
def test_a_broker_or_client_that_is_not_known_is_not_talked_to(
    broker: SecureKafka, tmp_path: Path, wrong: str, said: str
):
    key = str(broker.other.file.with_name("key.pem"))
    changes: dict[str, dict[str, Any]] = {
        "another authority": {"ssl_cafile": str(broker.other.file)},
        "no certificate": {"ssl_certfile": None, "ssl_keyfile": None},
        "another certificate": {"ssl_certfile": str(broker.other.file), "ssl_keyfile": key},
    }
    with pytest.raises(BrokerRefusedError, match=said) as caught:
        asked(broker, tmp_path, broker.mutual, certificate(broker, **changes[wrong]))
    assert "ssl_c" in caught.value.hint


def test_tls_where_there_is_none_and_none_where_there_is(broker: SecureKafka, tmp_path: Path):
    with pytest.raises(BrokerRefusedError, match="no TLS there"):
        asked(broker, tmp_path, broker.plain.bootstrap_servers, certificate(broker))


def test_a_key_that_is_not_the_certificates_is_named_before_anyone_is_asked(broker: SecureKafka, tmp_path: Path):
    client = certificate(broker, ssl_keyfile=str(broker.other.file.with_name("key.pem")))
    with pytest.raises(ConfigError, match="not usable for TLS: KEY_VALUES_MISMATCH"):
        asked(broker, tmp_path, broker.mutual, client)


def test_a_password_in_the_yaml_is_refused_and_not_repeated(broker: SecureKafka, tmp_path: Path):
    client = login(broker, "PLAIN") | {"sasl_plain_password": PASSWORD}
    live = pipeline(broker, tmp_path, broker.secure, client)
    with pytest.raises(ConfigError, match="a secret is written out") as caught:
        load_config(live.config)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD in json.dumps(client)
