"""One mail through a checked address of a mail server; TLS as the configuration says, never less."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Literal

from longwatch.pipeline.relay.guard import AddressRefusedError, Cutoff, Guard, cut_off_after, secured
from longwatch.pipeline.relay.verdict import Delivered, Refused, TryAgain, Verdict


@dataclass(frozen=True)
class MailServer:
    """How to reach it, and as whom; `login` is (user, password)."""

    host: str
    port: int
    mode: Literal["starttls", "tls", "none"]
    tls: ssl.SSLContext
    timeout_s: float
    login: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port})"


class _CheckedSMTP(smtplib.SMTP):
    """smtplib's client on a connection of ours."""

    def __init__(self, server: MailServer, connect: Callable[[], socket.socket]) -> None:
        self._connect_checked = connect
        # An address literal: asking the resolver for this machine's full name may take minutes.
        super().__init__(server.host, server.port, local_hostname="[127.0.0.1]", timeout=server.timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._connect_checked()


class _Watched:
    """The part of a TLS context that smtplib uses, with a handshake that can be cut off."""

    def __init__(self, tls: ssl.SSLContext, cutoff: Cutoff) -> None:
        self._tls = tls
        self._cutoff = cutoff

    def wrap_socket(self, stream: socket.socket, server_hostname: str) -> ssl.SSLSocket:
        """TLS over the connection."""
        return secured(stream, self._tls, server_hostname, self._cutoff)


def send_mail(guard: Guard, server: MailServer, mail: EmailMessage) -> Verdict:
    """Send it to all its receivers; 4xx answers may work later, 5xx will not."""
    try:
        refused = _send(guard, server, mail)
    except AddressRefusedError as error:
        return Refused("address_refused", str(error))
    except smtplib.SMTPRecipientsRefused as error:
        return _judge_refused(error.recipients)
    except smtplib.SMTPResponseException as error:
        return _judge_code(error.smtp_code, _text(error.smtp_error))
    except (OSError, ValueError) as error:
        return TryAgain(f"{server.host}: {type(error).__name__}: {error}")
    # Sending again would double it for those who have it: the dead letter says who has not.
    return Refused("receivers_refused", f"not taken for {_listed(refused)}") if refused else Delivered()


def _send(guard: Guard, server: MailServer, mail: EmailMessage) -> dict[str, Any]:
    with cut_off_after(server.timeout_s) as cutoff:

        def connect() -> socket.socket:
            stream = cutoff.watch(guard.connect(server.host, server.port, server.timeout_s))
            return secured(stream, server.tls, server.host, cutoff) if server.mode == "tls" else stream

        client = _CheckedSMTP(server, connect)
        try:
            if server.mode == "starttls":
                client.starttls(context=_Watched(server.tls, cutoff))  # type: ignore[call-overload]
            if server.login is not None:
                client.login(*server.login)
            return client.send_message(mail)
        finally:
            client.close()


def _judge_refused(recipients: dict[str, Any]) -> Verdict:
    if any(code < 500 for code, _ in recipients.values()):
        return TryAgain(f"no receiver was taken: {_listed(recipients)}")
    return Refused("rejected", f"no receiver was taken: {_listed(recipients)}")


def _judge_code(code: int, text: str) -> Verdict:
    said = f"the mail server answered {code}: {text}"
    return Refused("rejected", said) if 500 <= code < 600 else TryAgain(said)


def _listed(recipients: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({code} {_text(why)})" for name, (code, why) in recipients.items())


def _text(said: bytes | str) -> str:
    return (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said))[:200]
