import pickle

import pytest

from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.errors import ConfigError

SECRET = "hunter2-\u00fc"

TEXT = """\
pipeline: app
source:
  kafka:
    bootstrap_servers: ["kafka.example.net:9093"]
    topic: logs
    client:
      security_protocol: SASL_SSL
      sasl_mechanism: SCRAM-SHA-512
      sasl_plain_username: me
      CLIENT
format: {rfc5424: {}}
entity: {field: host}
sink: {kafka: {}}
"""


def load(tmp_path, client: str, overrides: dict[str, str] | None = None) -> Config:
    path = tmp_path / "pipeline.yaml"
    path.write_text(TEXT.replace("CLIENT", client), encoding="utf-8")
    return load_config(path, overrides or {})


@pytest.fixture
def from_file(tmp_path):
    (tmp_path / "password").write_text(f"{SECRET}\n", encoding="utf-8")
    return load(tmp_path, "sasl_plain_password_file: password")


def test_a_secret_is_read_from_a_file_beside_the_yaml(from_file):
    assert from_file.source.kafka.client.connection_options()["sasl_plain_password"] == SECRET


def test_a_secret_is_read_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("APP_PASSWORD", SECRET)
    client = load(tmp_path, "sasl_plain_password_env: APP_PASSWORD").source.kafka.client
    assert client.connection_options()["sasl_plain_password"] == SECRET
    assert not any(key.endswith(("_file", "_env")) for key in client.connection_options())


def test_a_secret_is_in_nothing_that_is_printed(from_file):
    client = from_file.source.kafka.client
    for shown in (repr(from_file), str(from_file), from_file.to_yaml(), repr(client), f"{client}"):
        assert SECRET not in shown
    assert SECRET not in from_file.model_dump_json()
    assert SECRET not in str(from_file.model_dump())


def test_the_dumped_configuration_reads_the_secret_again(from_file, tmp_path):
    path = tmp_path / "dumped.yaml"
    path.write_text(from_file.to_yaml(), encoding="utf-8")
    assert load_config(path) == from_file


def test_another_secret_is_another_configuration(from_file, tmp_path):
    (tmp_path / "password").write_text("changed", encoding="utf-8")
    assert load(tmp_path, "sasl_plain_password_file: password") != from_file


@pytest.mark.parametrize("key", ["sasl_plain_password", "ssl_password", "api_token", "Client-Secret"])
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path, key: str):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{key}: {SECRET}")
    error = caught.value
    assert (error.line, error.column, error.exit_code) == (10, 7, 2)
    assert f"{key}_file" in error.hint
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert error.__cause__ is None


def test_a_literal_secret_is_not_repeated_by_an_error_beside_it(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{{sasl_plain_password: {SECRET}, x: 1}}")
    assert SECRET not in str(caught.value)


def test_a_literal_secret_is_refused_on_the_command_line(tmp_path, from_file):
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            "sasl_plain_password_file: password",
            {"source.kafka.client.sasl_plain_password": "{" + SECRET},
        )
    assert SECRET not in str(caught.value)
    assert caught.value.file == "--set source.kafka.client.sasl_plain_password"


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ("sasl_plain_password_file: absent", "cannot read the secret in"),
        ("sasl_plain_password_file: empty", "is empty"),
        ("sasl_plain_password_file: binary", "not UTF-8"),
        ("sasl_plain_password_env: LONGWATCH_NOT_SET", "`LONGWATCH_NOT_SET` is not set"),
        ("sasl_plain_password_env: 'no name'", "should match"),
        ("ssl_password_file: empty", "is empty"),
    ],
)
def test_a_secret_that_is_not_there_is_an_error_at_its_key(tmp_path, client: str, message: str):
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, client)
    assert caught.value.line == 10


def test_one_secret_has_one_place(tmp_path):
    with pytest.raises(ConfigError, match="are both set"):
        load(tmp_path, "{}\n".replace("{}", "sasl_plain_password_env: HOME\n      sasl_plain_password_file: x"))


def test_sasl_needs_a_mechanism_and_a_mechanism_needs_sasl(tmp_path):
    path = tmp_path / "pipeline.yaml"
    text = TEXT.replace("CLIENT", "client_id: x")
    for broken, message in (
        (text.replace("      sasl_mechanism: SCRAM-SHA-512\n", ""), "needs `sasl_mechanism`"),
        (text.replace("SASL_SSL", "SSL"), "not used without SASL"),
    ):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_config(path)


def test_consumer_options_are_not_given_to_producers(tmp_path, from_file):
    client = load(tmp_path, "fetch_min_bytes: 7\n      sasl_plain_password_file: password").source.kafka.client
    assert client.consumer_options()["fetch_min_bytes"] == 7
    assert "fetch_min_bytes" not in client.connection_options()


def test_options_that_carry_promises_cannot_be_set(tmp_path):
    for option in ("isolation_level: read_uncommitted", "enable_auto_commit: true", "transactional_id: x", "acks: 0"):
        with pytest.raises(ConfigError, match="unknown key"):
            load(tmp_path, option)


def test_a_configuration_can_go_to_another_process(from_file):
    assert pickle.loads(pickle.dumps(from_file)) == from_file


def test_a_literal_secret_is_starred_out_behind_other_keys_of_its_line(tmp_path):
    path = tmp_path / "pipeline.yaml"
    client = f'{{"sasl_plain_password_env": "X", "sasl_plain_password": "{SECRET}", "more": 1}}'
    path.write_text(f'{{"source": {{"kafka": {{"client": {client}}}}}}}', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert SECRET not in str(caught.value)
    assert '"sasl_plain_password": ****' in str(caught.value)
