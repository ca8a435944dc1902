"""How longwatch talks to the brokers: options of the Kafka client, secrets read from files or the environment."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, SecretStr

from longwatch.pipeline.config.base import Model, Problem, validation_error
from longwatch.pipeline.config.secrets import UnreadableSecretError, read_secret
from longwatch.pipeline.config.values import Text, VariableName, YamlPath

Milliseconds = int

_SECRETS = ("sasl_plain_password", "ssl_password")
_CONSUMER_ONLY = (
    "client_rack",
    "fetch_max_wait_ms",
    "fetch_min_bytes",
    "fetch_max_bytes",
    "max_partition_fetch_bytes",
    "session_timeout_ms",
    "heartbeat_interval_ms",
    "max_poll_interval_ms",
)


class ClientOptions(Model):
    """Options of the Kafka client, by its names; passwords only by `*_file` or `*_env`."""

    client_id: Text | None = Field(
        default=None, description="Name shown in the broker's logs; longwatch's own by default."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="PLAINTEXT and SASL_PLAINTEXT only to this machine, unless `allow_plaintext` is set.",
    )
    ssl_cafile: YamlPath | None = Field(
        default=None, description="Certificates to trust (PEM); the system's by default."
    )
    ssl_certfile: YamlPath | None = Field(default=None, description="This client's certificate (PEM).")
    ssl_keyfile: YamlPath | None = Field(default=None, description="This client's private key (PEM).")
    ssl_crlfile: YamlPath | None = Field(default=None, description="Revoked certificates (PEM).")
    ssl_ciphers: Text | None = Field(default=None, description="Allowed ciphers in OpenSSL's notation.")
    ssl_check_hostname: bool = Field(default=True, description="Compare the broker's name with its certificate.")
    ssl_password_file: YamlPath | None = Field(default=None, description="File with the private key's password.")
    ssl_password_env: VariableName | None = Field(
        default=None, description="Environment variable with the private key's password."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] | None = Field(
        default=None, description="How to log in."
    )
    sasl_plain_username: Text | None = Field(default=None, description="User name for PLAIN and SCRAM.")
    sasl_plain_password_file: YamlPath | None = Field(
        default=None, description="File with the password for PLAIN and SCRAM."
    )
    sasl_plain_password_env: VariableName | None = Field(
        default=None, description="Environment variable with the password for PLAIN and SCRAM."
    )
    sasl_kerberos_service_name: Text | None = Field(default=None, description="Service name for GSSAPI.")
    sasl_kerberos_domain_name: Text | None = Field(default=None, description="Domain name for GSSAPI.")
    request_timeout_ms: Milliseconds | None = Field(default=None, ge=1, description="How long to wait for an answer.")
    retry_backoff_ms: Milliseconds | None = Field(
        default=None, ge=1, description="Pause before a request is sent again."
    )
    reconnect_backoff_ms: Milliseconds | None = Field(
        default=None, ge=1, description="First pause before reconnecting."
    )
    reconnect_backoff_max_ms: Milliseconds | None = Field(default=None, ge=1, description="Longest such pause.")
    connections_max_idle_ms: Milliseconds | None = Field(
        default=None, ge=1, description="Idle connections are closed then."
    )
    metadata_max_age_ms: Milliseconds | None = Field(
        default=None, ge=1, description="How often to look for new partitions."
    )
    receive_buffer_bytes: int | None = Field(default=None, ge=1, description="Socket buffer for reading.")
    send_buffer_bytes: int | None = Field(default=None, ge=1, description="Socket buffer for writing.")
    client_rack: Text | None = Field(default=None, description="This client's rack, to read from a near replica.")
    fetch_max_wait_ms: Milliseconds | None = Field(
        default=None, ge=0, description="How long the broker may gather records."
    )
    fetch_min_bytes: int | None = Field(default=None, ge=1, description="How much it gathers before it answers.")
    fetch_max_bytes: int | None = Field(default=None, ge=1, description="Most bytes of one answer.")
    max_partition_fetch_bytes: int | None = Field(
        default=None, ge=1, description="Most bytes of one partition in an answer."
    )
    session_timeout_ms: Milliseconds | None = Field(default=None, ge=1, description="A silent worker is replaced then.")
    heartbeat_interval_ms: Milliseconds | None = Field(
        default=None, ge=1, description="How often a worker says it is alive."
    )
    max_poll_interval_ms: Milliseconds | None = Field(
        default=None, ge=1, description="A stuck worker is replaced then."
    )

    _secrets: dict[str, SecretStr] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Reads the secrets; a missing file or variable is an error at its key."""
        del context
        problems = []
        for name in _SECRETS:
            try:
                secret = read_secret(getattr(self, f"{name}_file"), getattr(self, f"{name}_env"), name)
            except UnreadableSecretError as error:
                problems.append(error.problem)
            else:
                self._secrets.update({name: SecretStr(secret)} if secret is not None else {})
        if problems:
            raise validation_error(problems)

    @property
    def encrypted(self) -> bool:
        """Whether what is sent can be read on the way."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    def connection_options(self) -> dict[str, Any]:
        """Keyword arguments for any client, passwords in clear: never print or log them."""
        return {name: value for name, value in self._options().items() if name not in _CONSUMER_ONLY}

    def consumer_options(self) -> dict[str, Any]:
        """Keyword arguments for a consumer, passwords in clear: never print or log them."""
        return self._options()

    def _options(self) -> dict[str, Any]:
        plain = self.model_dump(
            exclude_none=True, exclude={f"{name}_{how}" for name in _SECRETS for how in ("file", "env")}
        )
        written = {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}
        return written | {name: secret.get_secret_value() for name, secret in self._secrets.items()}

    def _problems(self) -> list[Problem]:
        sasl = self.security_protocol.startswith("SASL")
        if sasl and self.sasl_mechanism is None:
            return [
                Problem(
                    f"`security_protocol: {self.security_protocol}` needs `sasl_mechanism`",
                    "for example SCRAM-SHA-512",
                    ("security_protocol",),
                )
            ]
        if not sasl and self.sasl_mechanism is not None:
            return [
                Problem(
                    "`sasl_mechanism` is not used without SASL",
                    "set `security_protocol: SASL_SSL`",
                    ("sasl_mechanism",),
                )
            ]
        return []
