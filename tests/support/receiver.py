"""A receiver of deliveries on this machine: real HTTP and SMTP servers that answer as a script says."""

import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Post:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return self.headers["Idempotency-Key"]


Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"")


@dataclass
class Receiver:
    """What came, and how the next is answered: `answer` may wait, or raise to cut the connection."""

    port: int
    answer: Callable[[Post], Answer] = lambda _: OK
    posts: list[Post] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where to post."""
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def keys(self) -> list[str]:
        """Idempotency keys in the order they came."""
        with self.came:
            return [post.key for post in self.posts]

    def wait_for(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Until it is true, looked at again whenever something comes, and every 0.2 s."""
        deadline = time.monotonic() + seconds
        with self.came:
            while not condition():
                assert time.monotonic() < deadline, f"not within {seconds} s; {len(self.posts)} came"
                self.came.wait(0.2)


@contextmanager
def http_receiver(
    answer: Callable[[Post], Answer] = lambda _: OK, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A server on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            post = Post(self.path, dict(self.headers), body)
            with receiver.came:
                receiver.posts.append(post)
                receiver.came.notify_all()
            status, headers, text = receiver.answer(post)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver = Receiver(server.server_port, answer, scheme="http" if tls is None else "https")
    with _serving(server):
        yield receiver


@dataclass
class Mailbox:
    """A mail server's side of what was said; `replies` maps a command's first word to another answer."""

    port: int
    mails: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)


@contextmanager
def smtp_receiver(tls: ssl.SSLContext | None = None, **replies: str) -> Iterator[Mailbox]:
    """A mail server that offers STARTTLS when it has a certificate."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 receiver")
            while line := self.rfile.readline().decode().rstrip("\r\n"):
                box.commands.append(line)
                word = line.split()[0].upper().partition(":")[0]
                if word in box.replies:
                    self.say(box.replies[word])
                elif not self.reply(word):
                    return

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def reply(self, word: str) -> bool:
            if word == "EHLO":
                secure = isinstance(self.request, ssl.SSLSocket)
                offers = ["250-receiver", "250-AUTH PLAIN", *(["250-STARTTLS"] if tls and not secure else []), "250 OK"]
                self.say("\r\n".join(offers))
            elif word == "STARTTLS":
                self.say("220 go on")
                assert tls is not None
                self.request = tls.wrap_socket(self.request, server_side=True)
                self.setup()
            elif word == "DATA":
                self.say("354 go on")
                lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                box.mails.append("".join(lines))
                self.say("250 taken")
            else:
                self.say("235 welcome" if word == "AUTH" else "221 bye" if word == "QUIT" else "250 OK")
            return word != "QUIT"

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    box = Mailbox(server.server_address[1], replies=replies)
    with _serving(server):
        yield box


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
