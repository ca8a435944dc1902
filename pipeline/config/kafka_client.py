"""How longwatch talks to the brokers: options of the Kafka client, secrets read from files or the environment."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr

from longwatch.pipeline.config.base import Model, Problem, validation_error
from longwatch.pipeline.config.secrets import UnreadableSecretError, read_secret
from longwatch.pipeline.config.values import Text, VariableName, YamlPath
from longwatch.pipeline.kafka_oauth import ClientCredentials, TokenFile, TokenSource

Milliseconds = int

_SECRETS = ("sasl_plain_password", "ssl_password", "sasl_oauth_client_secret")
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile", "sasl_oauth_cafile")
_OAUTH = ("endpoint", "client_id", "client_secret", "scope", "cafile", "token_file")
_OAUTH_KEYS = frozenset(f"sasl_oauth_{name}" for name in _OAUTH)
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
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"] | None = Field(
        default=None, description="How to log in."
    )
    sasl_plain_username: Text | None = Field(default=None, description="User name for PLAIN and SCRAM.")
    sasl_plain_password_file: YamlPath | None = Field(
        default=None, description="File with the password for PLAIN and SCRAM."
    )
    sasl_plain_password_env: VariableName | None = Field(
        default=None, description="Environment variable with the password for PLAIN and SCRAM."
    )
    sasl_oauth_token_file: YamlPath | None = Field(
        default=None, description="File with the token for OAUTHBEARER, read again at each connection."
    )
    sasl_oauth_endpoint: Text | None = Field(
        default=None, description="Where OAUTHBEARER gets tokens by client credentials; https, or http on this machine."
    )
    sasl_oauth_client_id: Text | None = Field(default=None, description="Client id at that endpoint.")
    sasl_oauth_client_secret_file: YamlPath | None = Field(default=None, description="File with the client's secret.")
    sasl_oauth_client_secret_env: VariableName | None = Field(
        default=None, description="Environment variable with the client's secret."
    )
    sasl_oauth_scope: Text | None = Field(default=None, description="Scope asked for.")
    sasl_oauth_cafile: YamlPath | None = Field(
        default=None, description="Certificates to trust at that endpoint (PEM); the system's by default."
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
        found = written | {name: secret.get_secret_value() for name, secret in self._secrets.items()}
        if self.sasl_mechanism == "OAUTHBEARER":
            found["sasl_oauth_token_provider"] = self._token_source()
        return {name: value for name, value in found.items() if name not in _OAUTH_KEYS}

    def _token_source(self) -> TokenSource:
        if self.sasl_oauth_token_file is not None:
            return TokenFile(self.sasl_oauth_token_file)
        secret = self._secrets["sasl_oauth_client_secret"].get_secret_value()
        endpoint, client_id = self.sasl_oauth_endpoint or "", self.sasl_oauth_client_id or ""
        return ClientCredentials(endpoint, client_id, secret, self.sasl_oauth_scope, self.sasl_oauth_cafile)

    def _problems(self) -> Iterator[Problem]:
        yield from self._mechanism_problems()
        for name in _FILES:
            path = getattr(self, name)
            if path is not None and not path.is_file():
                yield Problem(f"no such file: {path}", "paths start at the folder of this YAML file", (name,))
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            yield Problem("a private key without its certificate", "write `ssl_certfile` too", ("ssl_keyfile",))
        uses_ssl = [name for name in ("ssl_cafile", "ssl_certfile") if getattr(self, name) is not None]
        if uses_ssl and not self.encrypted:
            message = f"`{uses_ssl[0]}` is not used by {self.security_protocol}"
            yield Problem(message, "set `security_protocol: SSL` or SASL_SSL", (uses_ssl[0],))

    def _login_problems(self) -> Iterator[Problem]:
        """What the chosen mechanism lacks."""
        at: tuple[str] = ("sasl_mechanism",)
        if self.sasl_mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            if self.sasl_plain_username is None:
                yield Problem(f"{self.sasl_mechanism} needs a user", "write `sasl_plain_username`", at)
            if self.sasl_plain_password_file is None and self.sasl_plain_password_env is None:
                hint = "write `sasl_plain_password_env` or `sasl_plain_password_file`"
                yield Problem(f"{self.sasl_mechanism} needs a password", hint, at)
        if self.sasl_mechanism == "OAUTHBEARER":
            yield from self._oauth_problems(at)

    def _oauth_problems(self, at: tuple[str]) -> Iterator[Problem]:
        if (self.sasl_oauth_token_file is None) == (self.sasl_oauth_endpoint is None):
            hint = "write `sasl_oauth_token_file`, or `sasl_oauth_endpoint` with a client's id and secret"
            yield Problem("OAUTHBEARER needs one source of tokens", hint, at)
        if self.sasl_oauth_endpoint is None:
            return
        url = urlsplit(self.sasl_oauth_endpoint)
        local = is_this_machine(url.hostname or "")
        if not url.hostname or url.username or (url.scheme != "https" and not (url.scheme == "http" and local)):
            hint = "for example https://login.example.com/oauth2/token, without a user or password in it"
            yield Problem("this is no address that a secret may be sent to", hint, ("sasl_oauth_endpoint",))
        if self.sasl_oauth_client_id is None:
            yield Problem("no client id for the endpoint", "write `sasl_oauth_client_id`", ("sasl_oauth_endpoint",))
        if self.sasl_oauth_client_secret_file is None and self.sasl_oauth_client_secret_env is None:
            hint = "write `sasl_oauth_client_secret_env` or `sasl_oauth_client_secret_file`"
            yield Problem("no client secret for the endpoint", hint, ("sasl_oauth_endpoint",))

    def _mechanism_problems(self) -> list[Problem]:
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
        return list(self._login_problems())


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address says that it is the loopback one."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
