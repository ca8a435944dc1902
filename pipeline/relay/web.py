"""One POST to a checked address: no redirect is followed, no proxy asked, time and size are bounded."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from longwatch.pipeline.relay.backoff import retry_after_s
from longwatch.pipeline.relay.guard import AddressRefusedError, Cutoff, Guard, cut_off_after, secured
from longwatch.pipeline.relay.verdict import Delivered, Refused, TryAgain, Verdict

ANSWER_BYTES = 2048
"""How much of an error's text is read; the rest is left behind with the connection."""

_WORTH_ANOTHER_TRY = (408, 425, 429)


@dataclass(frozen=True, repr=False)
class Address:
    """Where to post; never shown whole, for its path may be a secret."""

    url: str
    tls: ssl.SSLContext
    timeout_s: float

    @property
    def host(self) -> str:
        """Its host, for messages."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    retry_after: str | None
    text: str


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates and host names are checked, TLS 1.2 or newer."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def deliver(guard: Guard, address: Address, body: bytes, headers: Mapping[str, str], now_ms: int) -> Verdict:
    """POST and say what its answer means."""
    try:
        answer = _post(guard, address, body, headers)
    except AddressRefusedError as error:
        return Refused("address_refused", str(error))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return TryAgain(f"{address.host}: {type(error).__name__}: {error}")
    return judge(answer, address.host, now_ms)


def judge(answer: Answer, host: str, now_ms: int) -> Verdict:
    """2xx is delivered; 408, 425, 429 and 5xx may work later; a redirect or any other answer will not."""
    status = answer.status
    said = f"{host} answered {status}: {answer.text}" if answer.text else f"{host} answered {status}"
    if 200 <= status < 300:
        return Delivered()
    if status in _WORTH_ANOTHER_TRY or status >= 500:
        return TryAgain(said, retry_after_s(answer.retry_after, now_ms))
    return Refused("redirected" if 300 <= status < 400 else "rejected", said)


def _post(guard: Guard, address: Address, body: bytes, headers: Mapping[str, str]) -> Answer:
    with cut_off_after(address.timeout_s) as cutoff:
        connection = _connection(address)
        try:
            connection.sock = _stream(guard, address, connection, cutoff)
            connection.request("POST", _target(address.url), body, dict(headers))
            return _answer(connection.getresponse())
        except (OSError, http.client.HTTPException, ValueError) as error:
            if cutoff.over:
                raise TimeoutError(f"no answer within {address.timeout_s:g} s") from error
            raise
        finally:
            connection.close()


def _connection(address: Address) -> http.client.HTTPConnection:
    parts = urlsplit(address.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.host, parts.port, timeout=address.timeout_s)
    # It is given its connection, and makes none: http.client would look the name up a second time.
    connection.auto_open = 0
    return connection


def _stream(guard: Guard, address: Address, connection: http.client.HTTPConnection, cutoff: Cutoff) -> socket.socket:
    stream = cutoff.watch(guard.connect(address.host, connection.port, address.timeout_s))
    if not isinstance(connection, http.client.HTTPSConnection):
        return stream
    return secured(stream, address.tls, address.host, cutoff)


def _answer(response: http.client.HTTPResponse) -> Answer:
    # The text of a success says nothing, and waiting for it could only lose that it was one.
    good = 200 <= response.status < 300
    text = "" if good else response.read(ANSWER_BYTES).decode("utf-8", "replace").strip()
    return Answer(response.status, response.getheader("Retry-After"), " ".join(text.split())[:200])


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
