"""The kinds of targets that alerts are delivered to, each with its address and the names of its secrets."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import Field

from longwatch.pipeline.alert_formats.choice import AlertFormat
from longwatch.pipeline.config.base import Location, Model, OneOf, Problem
from longwatch.pipeline.config.secrets import both_problem
from longwatch.pipeline.config.values import Duration, Many, PositiveDuration, Text, VariableName, YamlPath
from longwatch.pipeline.yaml_document import is_secret

_MAIL_ADDRESS = r"^[^@\s<>,;:\x00-\x1f]+@[^@\s<>,;:\x00-\x1f]+$"

MailAddress = Annotated[str, Field(pattern=_MAIL_ADDRESS, max_length=254)]
Lifecycle = Literal["open", "update", "close"]


class Allow(Model):
    """What the relay may connect to; everything else is refused, before and after its name is looked up."""

    schemes: Many[Literal["https", "http"]] = Field(default=("https",), description="Schemes of web addresses.")
    hosts: Many[Text] = Field(default=(), description="Hosts with public addresses; `*.example.com` for all below one.")
    private_hosts: Many[Text] = Field(
        default=(), description="Hosts that may have loopback or private addresses; link-local ones only by address."
    )

    def lists(self, host: str) -> bool:
        """Whether the host may be reached at all."""
        name = plain_host(host)
        return self.is_private(host) or any(_matches(plain_host(each), name) for each in self.hosts)

    def is_private(self, host: str) -> bool:
        """Whether the host may have an address that is not public."""
        return plain_host(host) in map(plain_host, self.private_hosts)

    def problem_with(self, url: str) -> Problem | None:
        """What is wrong with a web address, without repeating it: it may hold a secret."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return Problem("this is not a web address", "for example https://hooks.example.com/alerts")
        if not host or not url.isprintable() or not url.isascii() or " " in url:
            return Problem("this is not a web address", "for example https://hooks.example.com/alerts")
        if parts.username is not None or _secret_in_query(parts):
            return Problem(
                "a secret is written into the address", "use `token_env` or `url_env`, and change the secret"
            )
        if parts.scheme not in self.schemes:
            hint = f"use {' or '.join(self.schemes)}, or add `{parts.scheme}` to relay.allow.schemes"
            return Problem(f"scheme `{parts.scheme}` is not allowed", hint)
        return self.problem_with_host(host)

    def problem_with_host(self, host: str) -> Problem | None:
        """What is wrong with a host's name."""
        if self.lists(host):
            return None
        hint = "add it to relay.allow.hosts, or to relay.allow.private_hosts where it has a private address"
        return Problem(f"host `{host}` is not allowed", hint)


class _Web(Model):
    """An address that is posted to."""

    secrets: ClassVar[tuple[str, ...]] = ("url",)

    url_file: YamlPath | None = Field(default=None, description="File with the address.")
    url_env: VariableName | None = Field(default=None, description="Environment variable with the address.")
    ca_file: YamlPath | None = Field(default=None, description="Certificates to trust (PEM); the system's by default.")

    def _problems(self) -> Iterator[Problem]:
        yield from _secrets_problems(self)
        given = [name for name in ("url", "url_file", "url_env") if getattr(self, name, None) is not None]
        if len(given) != 1 and {"url_file", "url_env"} != set(given):
            choices = [name for name in ("url", "url_env", "url_file") if name in type(self).model_fields]
            yield Problem(f"write exactly one of {', '.join(choices)}", "the address to post to", at_key=True)


class _Webhook(_Web):
    """A receiver with an address in YAML and, where it asks for one, a token."""

    secrets: ClassVar[tuple[str, ...]] = ("url", "token")

    url: Text | None = Field(default=None, description="Address to post to, without secrets.")
    token_file: YamlPath | None = Field(default=None, description="File with the bearer token.")
    token_env: VariableName | None = Field(default=None, description="Environment variable with the bearer token.")


class WebhookTarget(_Webhook):
    """Each alert message by POST, as it is in the topic unless another form is chosen."""

    secrets: ClassVar[tuple[str, ...]] = ("url", "token", "signing_key")

    format: AlertFormat = Field(default="longwatch", description="Form of the body.")
    signing_key_file: YamlPath | None = Field(default=None, description="File with the key that signs bodies.")
    signing_key_env: VariableName | None = Field(default=None, description="Environment variable with that key.")


class AlertmanagerTarget(_Webhook):
    """A Prometheus Alertmanager; `/api/v2/alerts` is added to its address."""

    hold: PositiveDuration = Field(
        default=Duration(86_400_000),
        description="An alert that no message closes is resolved this long after its last.",
    )


class SlackTarget(_Web):
    """An incoming webhook of Slack, Mattermost or Rocket.Chat; its address is a secret."""


class SmtpTarget(Model):
    """A mail server."""

    secrets: ClassVar[tuple[str, ...]] = ("password",)

    host: Text = Field(description="Its name.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    tls: Literal["starttls", "tls", "none"] = Field(default="starttls", description="`none` only for private hosts.")
    ca_file: YamlPath | None = Field(default=None, description="Certificates to trust (PEM); the system's by default.")
    username: Text | None = Field(default=None, description="User to log in as.")
    password_file: YamlPath | None = Field(default=None, description="File with the password.")
    password_env: VariableName | None = Field(default=None, description="Environment variable with the password.")
    from_: MailAddress = Field(validation_alias="from", serialization_alias="from", description="Sender's address.")
    to: Annotated[Many[MailAddress], Field(min_length=1, max_length=100)] = Field(description="Receivers' addresses.")

    def _problems(self) -> Iterator[Problem]:
        yield from _secrets_problems(self)
        has_password = self.password_file is not None or self.password_env is not None
        if has_password != (self.username is not None):
            yield Problem("`username` and a password belong together", "write both or neither", at_key=True)


class Target(OneOf):
    """One receiver of alerts."""

    kinds = ("webhook", "alertmanager", "slack", "smtp")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = Field(description="Its name in logs and letters.")
    lifecycle: Annotated[Many[Lifecycle], Field(min_length=1)] = Field(
        default=("open", "update", "close"), description="Which messages of an alert's life it gets."
    )
    in_flight: int = Field(default=4, ge=1, le=64, description="Most deliveries under way at once.")
    timeout: PositiveDuration = Field(default=Duration(10_000), description="Longest time of one delivery.")
    webhook: WebhookTarget | None = Field(default=None, description="Any receiver of JSON.")
    alertmanager: AlertmanagerTarget | None = Field(default=None, description="A Prometheus Alertmanager.")
    slack: SlackTarget | None = Field(default=None, description="A Slack-compatible incoming webhook.")
    smtp: SmtpTarget | None = Field(default=None, description="Mail.")

    @property
    def settings(self) -> WebhookTarget | AlertmanagerTarget | SlackTarget | SmtpTarget:
        """The part that is written."""
        found = self.webhook or self.alertmanager or self.slack or self.smtp
        assert found is not None  # noqa: S101 - OneOf has checked it
        return found

    def problems_with(self, allow: Allow) -> Iterator[Problem]:
        """What of it the allow list forbids."""
        settings = self.settings
        if isinstance(settings, SmtpTarget):
            yield from _placed(allow.problem_with_host(settings.host), ("smtp", "host"))
            if settings.tls == "none" and not allow.is_private(settings.host):
                yield Problem("mail would travel unencrypted", "use starttls or tls", ("smtp", "tls"))
        elif isinstance(settings, _Webhook) and settings.url is not None:
            yield from _placed(web_problem(settings.url, settings, allow), (self.kind, "url"))


def web_problem(url: str, settings: _Web, allow: Allow) -> Problem | None:
    """What is wrong with a target's address; a token is not sent in clear to a host that is not private."""
    problem = allow.problem_with(url)
    if problem is not None or urlsplit(url).scheme == "https" or allow.is_private(urlsplit(url).hostname or ""):
        return problem
    if any(getattr(settings, f"{name}_{how}", None) for name in settings.secrets for how in ("file", "env")):
        return Problem("a secret would travel unencrypted", "use https")
    return None


def plain_host(host: str) -> str:
    """A host's name as it is compared."""
    return host.strip("[]").rstrip(".").lower()


def _matches(pattern: str, name: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else pattern == name


def _secret_in_query(parts: SplitResult) -> bool:
    return any(is_secret(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))


def _secrets_problems(settings: "_Web | SmtpTarget") -> Iterator[Problem]:
    for name in settings.secrets:
        problem = both_problem(getattr(settings, f"{name}_file"), getattr(settings, f"{name}_env"), name)
        yield from [] if problem is None else [problem]


def _placed(problem: Problem | None, at: Location) -> Iterator[Problem]:
    if problem is not None:
        yield Problem(problem.message, problem.hint, at)
