"""From the configuration of a target, its secrets read, to a function that tries to deliver one message."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from longwatch.pipeline.alert_formats.choice import content_type, render
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Allow, Target
from longwatch.pipeline.config.base import Problem
from longwatch.pipeline.config.relay_targets import (
    AlertmanagerTarget,
    SlackTarget,
    SmtpTarget,
    WebhookTarget,
    web_problem,
)
from longwatch.pipeline.config.secrets import UnreadableSecretError, read_secret
from longwatch.pipeline.relay.guard import Guard
from longwatch.pipeline.relay.mail import MailServer, send_mail
from longwatch.pipeline.relay.message import Message
from longwatch.pipeline.relay.render import alertmanager_body, mail_of, slack_body
from longwatch.pipeline.relay.verdict import Verdict
from longwatch.pipeline.relay.web import Address, deliver, tls_context

Send = Callable[[Message], Verdict]

SIGNATURE_HEADER = "X-Longwatch-Signature"


def open_target(target: Target, allow: Allow, guard: Guard, clock: Clock) -> Send:
    """Tries to deliver to this target; raises UnreadableSecretError with the place in the target's YAML."""
    settings = target.settings
    try:
        if isinstance(settings, SmtpTarget):
            return _mail(target, settings, guard, clock)
        address = _address(target, settings, allow)
        return _post(settings, address, guard, clock)
    except UnreadableSecretError as error:
        raise UnreadableSecretError(_placed(error.problem, target.kind)) from None


def signature(key: str, body: bytes) -> str:
    """HMAC-SHA256 of a body, as the header carries it."""
    return f"sha256={hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}"


def _post(
    settings: WebhookTarget | AlertmanagerTarget | SlackTarget, address: Address, guard: Guard, clock: Clock
) -> Send:
    fixed = {
        "Content-Type": content_type(getattr(settings, "format", "longwatch")),
        "User-Agent": "longwatch-relay",
        "Connection": "close",
    } | _authorization(settings)
    signing_key = _secret(settings, "signing_key")

    def send(message: Message) -> Verdict:
        now_ms = clock.now_ms()
        body = _body(settings, message, now_ms)
        headers = fixed | {"Idempotency-Key": message.delivery_key}
        if signing_key is not None:
            headers[SIGNATURE_HEADER] = signature(signing_key, body)
        return deliver(guard, address, body, headers, now_ms)

    return send


def _body(settings: WebhookTarget | AlertmanagerTarget | SlackTarget, message: Message, now_ms: int) -> bytes:
    if isinstance(settings, AlertmanagerTarget):
        return alertmanager_body(message, now_ms, settings.hold.ms)
    return slack_body(message) if isinstance(settings, SlackTarget) else render(message.record.value, settings.format)


def _mail(target: Target, settings: SmtpTarget, guard: Guard, clock: Clock) -> Send:
    password = _secret(settings, "password")
    login = None if password is None or settings.username is None else (settings.username, password)
    server = MailServer(settings.host, settings.port, settings.tls, _tls(settings), target.timeout.seconds, login)
    return lambda message: send_mail(guard, server, mail_of(message, settings.from_, settings.to, clock.now_ms()))


def _address(target: Target, settings: WebhookTarget | AlertmanagerTarget | SlackTarget, allow: Allow) -> Address:
    url = getattr(settings, "url", None) or _secret(settings, "url") or ""
    problem = web_problem(url, settings, allow)
    if problem is not None:
        key = next(name for name in ("url_env", "url_file", "url") if getattr(settings, name, None) is not None)
        raise UnreadableSecretError(Problem(problem.message, problem.hint, (key,)))
    if isinstance(settings, AlertmanagerTarget):
        parts = urlsplit(url)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/api/v2/alerts").geturl()
    return Address(url, _tls(settings), target.timeout.seconds)


def _tls(settings: WebhookTarget | AlertmanagerTarget | SlackTarget | SmtpTarget) -> ssl.SSLContext:
    try:
        return tls_context(settings.ca_file)
    except OSError as error:
        message = f"certificates in {settings.ca_file} cannot be read: {error.strerror or error}"
        raise UnreadableSecretError(Problem(message, "check path and rights", ("ca_file",))) from None


def _authorization(settings: WebhookTarget | AlertmanagerTarget | SlackTarget) -> dict[str, str]:
    token = _secret(settings, "token")
    if token is None:
        return {}
    if not token.isascii() or not token.isprintable():
        key = "token_env" if getattr(settings, "token_env", None) else "token_file"
        raise UnreadableSecretError(Problem("the token holds characters no header may", "write it on one line", (key,)))
    return {"Authorization": f"Bearer {token}"}


def _secret(settings: object, name: str) -> str | None:
    return read_secret(getattr(settings, f"{name}_file", None), getattr(settings, f"{name}_env", None), name)


def _placed(problem: Problem, kind: str) -> Problem:
    return Problem(problem.message, problem.hint, (kind, *problem.at))
