"""What is masked and what is left: the forms in which logs write personal data and secrets."""

import pytest

from longwatch.pipeline.masking.forms import KINDS, own_form
from longwatch.pipeline.masking.masker import masker
from longwatch.pipeline.masking.numbers import is_card

MASK = masker(KINDS)

MASKED = {
    "mail from alice@example.com to bob%40x.org": "mail from <EMAIL> to <EMAIL>",
    "müller@bücher.example ok": "<EMAIL> ok",
    '{"mail":"a.b+c\\u0040example.com"}': '{"mail":"<EMAIL>"}',
    "card 4111 1111 1111 1111, not 4111 1111 1111 1112": "card <CARD>, not 4111 1111 1111 1112",
    "refs 1234 5555-5555-5555-4444 and 378282246310005": "refs 1234 <CARD> and <CARD>",
    "to DE89 3704 0044 0532 0130 00 and GB82WEST12345698765432": "to <IBAN> and <IBAN>",
    "from 192.0.2.7:443 and 2001:db8::8:1/64": "from <IP>:443 and <IP>/64",
    "password=hunter2 x": "password=<SECRET> x",
    'say {"password": "a b\\"c", "n": 1}': 'say {"password": "<SECRET>", "n": 1}',
    'j {\\"token\\":\\"abc\\",\\"user\\":\\"al\\"}': 'j {\\"token\\":\\"<SECRET>\\",\\"user\\":\\"<USER>\\"}',
    'cut off {"secret":"abc': 'cut off {"secret":"<SECRET>',
    "DB_PASSWORD='x y' AWS_SECRET_ACCESS_KEY=abc/def": "DB_PASSWORD='<SECRET>' AWS_SECRET_ACCESS_KEY=<SECRET>",
    "Authorization: Bearer abcdefghijkl.mn": "Authorization: Bearer <SECRET>",
    "https://bot:pw!@host/x?y=1": "https://bot:<SECRET>@host/x?y=1",
    "key AKIAIOSFODNN7EXAMPLE used": "key <SECRET> used",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END": "-----BEGIN RSA PRIVATE KEY-----<SECRET>-----END",
    "mysql --password hunter2 -h db": "mysql --password <SECRET> -h db",
    "Failed password for invalid user bob from h": "Failed password for invalid user <USER> from h",
    "Accepted publickey for carol from h": "Accepted publickey for <USER> from h",
    "user alice logged in": "user <USER> logged in",
    "sudo:    erin : TTY=pts/0": "sudo:    <USER> : TTY=pts/0",
    "uid=1000(gina) gid=0(root)": "uid=1000(<USER>) gid=0(root)",
    "/home/frank/x and C:\\Users\\frank\\y": "/home/<USER>/x and C:\\Users\\<USER>\\y",
}

LEFT = [
    "received block blk_-4608999687919862906 of size 67108864",
    "epoch 1764072000123456 took 1234567890123 ns",
    "user=root su for user root",
    "password=<*> user=<*> token: <SECRET> <EMAIL#5b1f0c9a7d3e>",
    "unknown user: not found",
    "12:30:45.123 v1.2.3 a::b std::vector",
    "tokens=512 password_length=8 user_count=3",
    "kernel: eth0@if12 link up",
]


@pytest.mark.parametrize(("text", "expected"), MASKED.items())
def test_personal_data_is_masked_and_nothing_else_of_the_line(text: str, expected: str):
    assert MASK.text(text) == expected


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_alike_is_left(text: str):
    assert MASK.text(text) == text


def test_addresses_of_machines_are_left_unless_asked_for():
    assert masker().text("from 192.0.2.7") == "from 192.0.2.7"


@pytest.mark.parametrize(
    ("digits", "right"),
    [
        ("4111111111111111", True),
        ("4111111111111112", False),
        ("5105105105105100", True),
        ("6011000990139424", True),
        ("1234567812345670", False),
        ("0000000000000000", False),
    ],
)
def test_a_card_has_a_network_a_length_and_a_check_digit(digits: str, right: bool):
    assert is_card(digits) is right


def test_a_pattern_of_the_users_goes_first_and_may_name_what_is_replaced():
    own = own_form("CUSTOMER", r"customer (?P<value>[A-Zé]{2}-\d+)")
    assert masker((), (own,)).text("customer AÉ-1 customer Aé-1 x") == "customer AÉ-1 customer <CUSTOMER> x"


def test_a_pattern_that_could_backtrack_is_refused():
    for pattern in (r"(?<=a)b", r"(a)\1", "("):
        with pytest.raises(ValueError, match=r"."):
            own_form("X", pattern)
