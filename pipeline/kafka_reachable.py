"""Whether there is a broker at all, and whether it is the one it should be, asked before a client is made."""

import socket
import ssl
from collections.abc import Callable, Mapping

from longwatch.pipeline.errors import BrokerRefusedError, ConfigError
from longwatch.pipeline.kafka_errors import BrokerUnreachableError
from longwatch.pipeline.kafka_settings import KafkaSettings

_TLS = ("SSL", "SASL_SSL")
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")


def check_reachable(settings: KafkaSettings, context: ssl.SSLContext | None = None, listen_s: float = 0.0) -> None:
    """Raise BrokerUnreachableError unless some broker accepts a connection, BrokerRefusedError where TLS fails.

    A kafka-python client that cannot start raises and leaves a thread behind that tries for ever. With `listen_s` the
    broker has so long to say that it does not take this client's certificate.
    """
    if {"proxy_url", "socks5_proxy"} & settings.client.keys():
        return
    failures = []
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            _connect(host.strip("[]"), int(port), settings.connect_timeout_ms / 2000, context, listen_s)
        except ssl.SSLError as error:
            raise _no_trust(server, error) from error
        except OSError as error:
            failures.append(f"{server}: {error or type(error).__name__}")
        else:
            return
    raise BrokerUnreachableError(
        f"no connection to Kafka: {'; '.join(failures)}",
        "check bootstrap_servers and that a broker is running there; `longwatch doctor` asks each",
    )


def tls_context(
    settings: KafkaSettings, build: Callable[[Mapping[str, object]], ssl.SSLContext]
) -> ssl.SSLContext | None:
    """What `build` makes of the client's options; ConfigError when a certificate or key cannot be used."""
    if settings.client.get("security_protocol") not in _TLS:
        return None
    try:
        return build(settings.client)
    except OSError as error:
        files = ", ".join(str(settings.client[name]) for name in _FILES if name in settings.client)
        what = getattr(error, "reason", None) or error.strerror or error
        message = f"source.kafka.client: {files}: not usable for TLS: {what}"
        raise ConfigError(message, "each must be PEM, and the key that of the certificate") from None


def _connect(host: str, port: int, timeout_s: float, context: ssl.SSLContext | None, listen_s: float) -> None:
    with socket.create_connection((host, port), timeout_s) as stream:
        if context is None:
            return
        with context.wrap_socket(stream, server_hostname=host) as secured:
            if listen_s:
                secured.settimeout(listen_s)
                try:
                    secured.recv(1)
                except TimeoutError:
                    return


def _no_trust(server: str, error: ssl.SSLError) -> BrokerRefusedError:
    client = "source.kafka.client"
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = f"name its authority with {client}.ssl_cafile"
        if "mismatch" in error.verify_message:
            hint = "write the name that stands in its certificate into bootstrap_servers"
        return BrokerRefusedError(f"{server}: its certificate is not accepted: {error.verify_message}", hint)
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if "alert" in reason:
        hint = f"check {client}.ssl_certfile and ssl_keyfile: the broker must know who signed that certificate"
        return BrokerRefusedError(f"{server}: the broker does not accept this client: {reason}", hint)
    return BrokerRefusedError(f"{server}: no TLS there: {reason}", f"check the port and {client}.security_protocol")
