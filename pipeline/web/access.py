"""Who may see the page: a token where one is set, names that browsers may use, and no state changed from elsewhere."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from longwatch.pipeline.config.base import Problem
from longwatch.pipeline.config.secrets import UnreadableSecretError
from longwatch.pipeline.config.web import LOCAL_NAMES, Web
from longwatch.pipeline.errors import ConfigError

COOKIE = "longwatch_page"
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Access:
    """What a request must show; without a token only names of this machine are answered (DNS rebinding)."""

    token: str | None
    hosts: frozenset[str]

    @classmethod
    def of(cls, web: Web) -> Access:
        """From the configuration; raises UnreadableSecretError where the token is not there or too short."""
        token = web.token()
        if token is not None and len(token) < SHORTEST_TOKEN:
            message = f"the page's token has {len(token)} characters, of at least {SHORTEST_TOKEN}"
            at = ("token_env" if web.token_env else "token_file",)
            raise UnreadableSecretError(Problem(message, "for example `openssl rand -hex 32`", at))
        local = LOCAL_NAMES if web.is_local else ()
        return cls(token, frozenset((*local, web.host, *web.hosts)))

    @property
    def any_host(self) -> bool:
        """Whether names are not looked at: a token is asked for, and none were listed."""
        return self.token is not None and len(self.hosts) <= 1

    @property
    def session(self) -> str:
        """What the cookie of a browser that knew the token holds: not the token itself."""
        return hmac.new((self.token or "").encode(), b"longwatch page session", "sha256").hexdigest()

    def knows(self, host: str) -> bool:
        """Whether the page may be asked for by that name."""
        return self.any_host or _without_port(host.lower()) in self.hosts

    def is_token(self, given: str) -> bool:
        """Whether that is the token; takes as long whatever is wrong with it."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def lets_in(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Whether a request shows that its sender knows the token."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_token(given.strip())
        return hmac.compare_digest(cookies.get(COOKIE, "").encode(), self.session.encode())


def access_to(name: str, section: Web) -> Access:
    """To what a section of the configuration serves; raises ConfigError where its token is not there or too short."""
    try:
        return Access.of(section)
    except UnreadableSecretError as error:
        where = ".".join((name, *map(str, error.problem.at)))
        raise ConfigError(f"{where}: {error.problem.message}", error.problem.hint) from None


def from_this_page(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something was sent by the page itself, or by no browser at all."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _without_port(host: str) -> str:
    """`name:80` and `[::1]:80` without the port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and (name.endswith("]") or ":" not in name) else host
