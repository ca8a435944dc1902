"""Tokens are asked for once, renewed before they end, and never shown."""

import pytest

from longwatch.pipeline.errors import BrokerRefusedError
from longwatch.pipeline.kafka_errors import BrokerUnreachableError
from longwatch.pipeline.kafka_oauth import ClientCredentials, TokenFile
from support.secure_broker import CLIENT_SECRET, token_endpoint


def test_one_token_serves_until_most_of_its_life_is_over():
    now = [0.0]
    with token_endpoint() as endpoint:
        source = ClientCredentials(endpoint.url, "me", CLIENT_SECRET, now=lambda: now[0])
        first = source.token()
        now[0] = 0.79 * 3600
        assert source.token() == first
        assert endpoint.asked == 1
        now[0] = 0.81 * 3600
        source.token()
        assert endpoint.asked == 2


@pytest.mark.parametrize("answer", [{"access_token": "a\nb"}, {"access_token": 7}, {"token": "x"}, {"error": "no"}])
def test_an_answer_without_a_usable_token_is_refused_and_not_repeated(answer: dict[str, object]):
    with token_endpoint(answer) as endpoint:
        source = ClientCredentials(endpoint.url, "me", CLIENT_SECRET)
        with pytest.raises(BrokerRefusedError, match="no token for Kafka") as caught:
            source.token()
    assert CLIENT_SECRET not in str(caught.value) + repr(source)
    assert "a\nb" not in str(caught.value)


def test_a_provider_that_is_away_may_come_back():
    with pytest.raises(BrokerUnreachableError, match=r"127\.0\.0\.1:1"):
        ClientCredentials("http://127.0.0.1:1/token", "me", CLIENT_SECRET).token()


def test_a_token_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BrokerRefusedError, match="cannot be read: No such file"):
        TokenFile(tmp_path / "token").token()
