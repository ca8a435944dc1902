"""Who may see the page, over real connections: by which name, with which token, and from which page."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.config.secrets import UnreadableSecretError
from longwatch.pipeline.config.web import Web
from longwatch.pipeline.web.access import COOKIE, Access
from longwatch.pipeline.web.board import Board
from longwatch.pipeline.web.server import PageServer

TOKEN = "0123456789abcdef-token"
CONTENT = {"pipeline": "app", "feedback": False}


@contextmanager
def served(web: Web) -> Iterator[PageServer]:
    server = PageServer(web, Access.of(web), Board(ManualClock()), CONTENT)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def token_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture(scope="module")
def local() -> Iterator[PageServer]:
    with served(Web(port=0)) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(token_file) -> Iterator[PageServer]:
    with served(Web(host="0.0.0.0", port=0, token_file=token_file)) as found:
        yield found


def ask(
    server: PageServer, path: str = "/", method: str = "GET", body: str = "", **headers: str
) -> tuple[int, dict, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port or 0, timeout=10)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body or None, headers=given)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def test_this_machine_sees_it_without_a_token(local):
    status, headers, body = ask(local)
    assert status == 200
    assert "app: live" in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "", "localhost@evil.example"]
)
def test_a_name_that_is_not_this_machines_is_refused(local, host):
    """A page of elsewhere whose name was made to point here (DNS rebinding) reads nothing."""
    status, _, body = ask(local, Host=host)
    assert status in (400, 421)
    assert "app: live" not in body


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8420", "[::1]", "[::1]:80", "LOCALHOST"])
def test_this_machines_names_are_answered(local, host):
    assert ask(local, Host=host)[0] == 200


@pytest.mark.parametrize("path", ["/page.js", "/events", "/marks", "/docs", "/%2e%2e/page.js"])
def test_without_the_token_nothing_but_the_form_is_shown(guarded, path):
    assert ask(guarded, path)[0] in (401, 404)
    assert ask(guarded)[:1] == (303,)
    assert ask(guarded, "/login")[0] == 200


@pytest.mark.parametrize("given", ["", TOKEN[:-1], TOKEN + "x", "Bearer", "é" * 20])
def test_a_wrong_token_is_refused(guarded, given):
    assert ask(guarded, "/page.js", Authorization=f"Bearer {given}".encode().decode("latin-1"))[0] == 401
    assert ask(guarded, "/page.js", Cookie=f"{COOKIE}={given.encode().decode('latin-1')}")[0] == 401


def test_the_token_opens_it_as_a_header_and_as_what_the_form_sends(guarded):
    assert ask(guarded, "/page.js", Authorization=f"Bearer {TOKEN}")[0] == 200
    own = f"127.0.0.1:{guarded.port}"
    status, headers, _ = ask(guarded, "/login", "POST", f"token={TOKEN}", Host=own, Origin=f"http://{own}")
    cookie = headers["set-cookie"]
    assert status == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert ask(guarded, "/page.js", Cookie=cookie.split(";")[0])[0] == 200


def test_the_form_refuses_a_wrong_token_and_a_body_that_is_too_large(guarded):
    assert ask(guarded, "/login", "POST", "token=wrong")[0] == 403
    assert ask(guarded, "/login", "POST", "token=" + "x" * 100_000)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_nothing_is_changed_from_another_page(local, origin):
    assert ask(local, "/marks", "POST", json.dumps({}), Origin=origin)[0] == 403
    assert ask(local, "/marks", "POST", json.dumps({}), Sec_Fetch_Site="cross-site")[0] == 403


def test_a_short_token_is_refused(tmp_path):
    (tmp_path / "token").write_text("short")
    with pytest.raises(UnreadableSecretError, match="of at least 16"):
        Access.of(Web(token_file=tmp_path / "token"))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "192.168.1.1"])
def test_beyond_this_machine_a_token_is_demanded(host):
    with pytest.raises(ValidationError, match="no token is asked for"):
        Web(host=host)


@pytest.mark.parametrize("host", ["example.net", "", "127.0.0.1:80"])
def test_an_address_to_listen_on_is_an_address(host):
    with pytest.raises(ValidationError):
        Web(host=host, token_env="T")


def test_a_port_that_is_taken_leaves_the_worker_without_a_page(local):
    with served(Web(port=local.port or 0)) as second:
        assert second.port is None
    assert ask(local)[0] == 200
