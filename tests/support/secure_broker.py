"""A real broker whose clients must show who they are: by certificate, by password, or by token."""

import contextlib
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from support.certificates import Certificate, make_certificate
from support.kafka_broker import KafkaForTests, broker_module

USER, PASSWORD = "longwatch", "hunter2-s3cret"
CLIENT_SECRET = "cl13nt-s3cret"

_LISTENERS = """
listeners=PLAINTEXT://127.0.0.1:@PORT@,MUTUAL://127.0.0.1:{mutual},SECURE://127.0.0.1:{secure},\
CONTROLLER://127.0.0.1:@CONTROLLER_PORT@
advertised.listeners=PLAINTEXT://127.0.0.1:@PORT@,MUTUAL://127.0.0.1:{mutual},SECURE://127.0.0.1:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,MUTUAL:SSL,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.mutual.ssl.client.auth=required
listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.secure.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.secure.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.secure.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub="broker";
"""


@dataclass(frozen=True)
class SecureKafka:
    """`plain` is the way in for the test itself; `mutual` asks for a certificate, `secure` for a login over TLS."""

    plain: KafkaForTests
    mutual: str
    secure: str
    server: Certificate
    client: Certificate
    other: Certificate

    @property
    def client_key(self) -> Path:
        return self.client.file.with_name("key.pem")


@contextlib.contextmanager
def secure_broker(folder: Path) -> Iterator[SecureKafka]:
    """Its certificates are made now, by openssl, and gone with the folder."""
    ops = broker_module()
    server, client, other = (make_certificate(folder / name) for name in ("server", "client", "other"))
    mutual, secure = ops._free_ports(2)
    keystore = folder / "keystore.pem"
    keystore.write_text(server.file.with_name("key.pem").read_text() + server.file.read_text())
    more = _LISTENERS.format(
        mutual=mutual,
        secure=secure,
        keystore=keystore,
        truststore=client.file,
        module="org.apache.kafka.common.security",
        user=USER,
        password=PASSWORD,
    )
    broker = ops.LocalBroker(folder / "data", ops.fetch())
    write = ops._write_properties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ops, "_write_properties", lambda home, log, port, controller, _="": write(home, log, port, controller, more)
        )
        broker.start()
    try:
        plain = KafkaForTests(broker, broker.bootstrap_servers)
        _add_scram_user(plain)
        yield SecureKafka(plain, f"127.0.0.1:{mutual}", f"127.0.0.1:{secure}", server, client, other)
    finally:
        broker.stop()


def _add_scram_user(kafka: KafkaForTests) -> None:
    from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

    with kafka.admin() as admin:
        # A broker takes one change of a user in a request.
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            done = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, mechanism, PASSWORD)])
            assert done == {USER: None}


def unsigned_token(subject: str, life_s: float = 3600) -> str:
    """A token that Kafka's own validator for tests takes: its claims, and no signature."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": subject, "iat": now, "exp": now + life_s})
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@dataclass
class TokenEndpoint:
    """An identity provider on loopback that gives tokens to a client that knows the secret; `asked` counts."""

    url: str
    asked: int = 0


@contextlib.contextmanager
def token_endpoint(answer: dict[str, object] | None = None) -> Iterator[TokenEndpoint]:
    """Answers with `answer` where that is given, whoever asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            endpoint.asked += 1
            fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            known = fields.get("client_secret") == [CLIENT_SECRET] and fields["grant_type"] == ["client_credentials"]
            good = {"access_token": unsigned_token(USER), "expires_in": 3600, "token_type": "Bearer"}
            body = json.dumps(answer or (good if known else {"error": "invalid_client"})).encode()
            self.send_response(200 if known or answer else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint = TokenEndpoint(f"http://127.0.0.1:{server.server_port}/token")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
