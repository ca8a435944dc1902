"""Personal data nobody has, in the forms that logs write it in: seeded, so that each search is for known bytes."""

import random
import string
from collections.abc import Iterator

from longwatch.pipeline.masking.numbers import luhn

LETTERS = "abcdefghijkmnpqrstuvwxyz"


class Canaries:
    """`planted` holds what may be found in no output; `lines` holds messages around it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.planted: list[str] = []
        self.lines = list(self._lines())

    def found_in(self, content: bytes) -> list[str]:
        """Canaries whose bytes are in the content."""
        return [canary for canary in self.planted if canary.encode() in content]

    def _lines(self) -> Iterator[str]:
        word, card = self._word, self._card
        yield f"mail bounced for {self._plant(f'{word()}.{word()}@{word()}.example.com')} after 3 tries"
        yield f"payment by card {self._plant(card(''))} of order 1234 declined"
        yield f"payment by card {self._plant(card(' '))} approved, receipt {self._plant(card('-'))}"
        yield f"login failed password={self._plant(word())} from console"
        yield f'request body {{"user":"{self._plant(word())}","api_key": "{self._plant(word())}"}} refused'
        yield f"Accepted password for {self._plant(word())} from 10.0.0.9 port 4422 ssh2"
        yield f"session opened for user {self._plant(word())} by (uid=0)"
        yield f"Authorization: Bearer {self._plant(word(24))} expired"
        yield f"clone of https://bot:{self._plant(word())}@git.example.com/x failed"
        yield f"cannot open /home/{self._plant(word())}/.ssh/id_ed25519"
        yield f"token eyJhbGciOi{self._plant(word())}.eyJzdWIi{self._plant(word())}.{self._plant(word())} rejected"
        yield f"Set-Cookie: {self._plant(word(20))}; Path=/"

    def _plant(self, text: str) -> str:
        self.planted.append(text)
        return text

    def _word(self, length: int = 12) -> str:
        return "".join(self._random.choices(LETTERS, k=length))

    def _card(self, separator: str) -> str:
        head = "4" + "".join(self._random.choices(string.digits, k=14))
        number = next(head + digit for digit in string.digits if luhn(head + digit))
        return separator.join(number[at : at + 4] for at in range(0, 16, 4))


def canary_log(canaries: Canaries, lines: list[str]) -> list[str]:
    """The demo's lines with canaries among them: in known hosts' messages, in a host's name, before no header, late."""
    log = list(lines)
    for at, text in enumerate(canaries.lines):
        place = 400 + 60 * at
        stamp = log[place].split(" ", 1)[0]
        # An alert names five events: on one host alone most canaries would be in none.
        log.insert(place, f"{stamp} ERROR web-0{1 + at % 6} app: {text}")
        log.insert(place + 1, f"no header: {text}")
        log.insert(place + 2, f"2026-11-01T00:00:00.000Z ERROR web-01 app: {text}")
    host = canaries.planted[0]
    stamp = log[1500].split(" ", 1)[0]
    return [*log[:1501], *(f"{stamp} FATAL {host} app: never seen {at} of {host}" for at in range(3)), *log[1501:]]
