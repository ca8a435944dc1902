"""A certificate for this machine, made by the openssl that any Linux has."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Its file, which is also what a client must trust, and a server's context with it."""

    file: Path
    server: ssl.SSLContext


def make_certificate(folder: Path, name: str = "IP:127.0.0.1,DNS:localhost") -> Certificate:
    """A self-signed one for these names."""
    folder.mkdir(parents=True, exist_ok=True)
    file, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(file)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return Certificate(file, context)
