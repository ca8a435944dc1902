"""Tokens for SASL/OAUTHBEARER: from a file that something renews, or from an identity provider."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlencode, urlsplit

from longwatch.pipeline.errors import BrokerRefusedError
from longwatch.pipeline.kafka_errors import BrokerUnreachableError

ANSWER_BYTES = 64 * 1024
TIMEOUT_S = 5.0
_RENEWED_AFTER = 0.8
_DEFAULT_LIFE_S = 300.0


@runtime_checkable
class TokenSource(Protocol):
    """Gives a token that is still valid; asked at each connection."""

    def token(self) -> str:
        """The token; BrokerError says why there is none."""
        ...


@dataclass(frozen=True)
class TokenFile:
    """A file that holds the token, such as Kubernetes' projected one; read again each time."""

    path: Path

    def token(self) -> str:
        """What the file holds now."""
        try:
            found = self.path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BrokerRefusedError(
                f"no token for Kafka: {self.path} cannot be read: {getattr(error, 'strerror', None) or 'not ASCII'}",
                "check source.kafka.client.sasl_oauth_token_file and its rights",
            ) from None
        if not found:
            raise BrokerRefusedError(f"no token for Kafka: {self.path} is empty", "look at what writes that file")
        return found


@dataclass
class ClientCredentials:
    """OAuth 2.0 client credentials: one token for all connections, asked for again when most of its life is over."""

    endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    ca_file: Path | None = None
    now: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _held: tuple[str, float] = field(default=("", 0.0), repr=False, compare=False)

    def token(self) -> str:
        """The token in hand, or a new one."""
        with self._lock:
            if self.now() >= self._held[1]:
                self._held = self._asked()
            return self._held[0]

    def _asked(self) -> tuple[str, float]:
        try:
            status, answer = self._post()
        except (OSError, http.client.HTTPException) as error:
            raise BrokerUnreachableError(
                f"no token for Kafka: {self.endpoint}: {type(error).__name__}: {error}",
                "check sasl_oauth_endpoint and sasl_oauth_cafile, and that the identity provider runs",
            ) from error
        token, life = _read(answer)
        if status != 200 or not token:
            raise BrokerRefusedError(
                f"no token for Kafka: {self.endpoint} answered {status}: {_reason(answer)}",
                "check sasl_oauth_client_id, its secret and sasl_oauth_scope with the identity provider",
            )
        return token, self.now() + _RENEWED_AFTER * life

    def _post(self) -> tuple[int, Any]:
        parts = urlsplit(self.endpoint)
        fields = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}
        body = urlencode(fields | ({"scope": self.scope} if self.scope else {}))
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            return response.status, _json(response.read(ANSWER_BYTES))
        finally:
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _read(answer: Any) -> tuple[str, float]:
    """The token, empty where the answer holds none that a header may carry, and its life in seconds."""
    if not isinstance(answer, dict):
        return "", 0.0
    token, life = answer.get("access_token"), answer.get("expires_in", _DEFAULT_LIFE_S)
    usable = isinstance(token, str) and token.isascii() and token.isprintable()
    return token if usable else "", float(life) if isinstance(life, int | float) else _DEFAULT_LIFE_S  # type: ignore[return-value]


def _reason(answer: Any) -> str:
    """What the provider says is wrong; never the answer itself, which may repeat what was sent."""
    if not isinstance(answer, dict):
        return "no JSON object"
    said = str(answer.get("error", "no access_token in it"))
    return said[:100]
