"""Numbers that prove what they are: cards by Luhn, accounts by their check digits, addresses by their grammar."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

# First digits of the networks and the lengths that each has; 10 % of any digits would pass the check sum alone.
_NETWORKS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6(?:011|5|4[4-9])|35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 15, 16, 17, 18, 19)),
    (re.compile(r"62|81"), (16, 17, 18, 19)),
    (re.compile(r"50|5[6-9]|6[37]"), (13, 14, 15, 16, 17, 18, 19)),
)
_DIGIT_RUN = re.compile(r"[0-9]+")
_IBAN_CHARACTERS = (15, 34)


def is_card(digits: str) -> bool:
    """Whether a card may have this number: a network's first digits and length, and Luhn's check digit."""
    known = any(first.match(digits) and len(digits) in lengths for first, lengths in _NETWORKS)
    return known and len(set(digits)) > 1 and luhn(digits)


def luhn(digits: str) -> bool:
    """Whether every second digit from the right, doubled, and the others add up to a multiple of 10."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def cards_in(run: str) -> Iterator[tuple[int, int]]:
    """(start, stop) of the card numbers in a run of digits with single spaces or dashes, none inside another."""
    groups = [match.span() for match in _DIGIT_RUN.finditer(run)]
    first = 0
    while first < len(groups):
        last = next((last for last in _ends(groups, first) if _is_card(run, groups, first, last)), None)
        if last is not None:
            yield groups[first][0], groups[last][1]
        first = first + 1 if last is None else last + 1


def is_iban(text: str) -> bool:
    """Whether the check digits of an international account number are right."""
    plain = text.replace(" ", "").upper()
    if not _IBAN_CHARACTERS[0] <= len(plain) <= _IBAN_CHARACTERS[1]:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ends(groups: list[tuple[int, int]], first: int) -> Iterator[int]:
    """Last groups of a number that begins with `first`, the longest number first."""
    return reversed(range(first, min(len(groups), first + 6)))


def _is_card(run: str, groups: list[tuple[int, int]], first: int, last: int) -> bool:
    return is_card("".join(run[start:stop] for start, stop in groups[first : last + 1]))
