"""Masks are stable, harmless to what is not masked, and take time in proportion to the text."""

import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longwatch.pipeline.masking.forms import KINDS, own_form
from longwatch.pipeline.masking.masker import NOTHING, Masker, masker

MASK = masker(KINDS)
KEYED = masker(KINDS, key=b"0123456789abcdef")
OWN = masker(KINDS, (own_form("OWN", "x+|é|,"), own_form("MARK", "<[A-Z]+>")))

WORDS = ["a@b.example", "4111111111111111", "password=", "user=", "Bearer ", "x", "::1", "<*>", "for user ", "token:"]
SIGNS = ['"', "'", "\\", " ", "\ud800", "é", "\x00", "://u:p@h", "eyJabcdefg.b", "=", ",", "<EMAIL>", "\n"]
PIECES = st.sampled_from([*WORDS, *SIGNS])


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join)))
def test_masking_twice_is_masking_once(text: str):
    for mask in (MASK, KEYED):
        once = mask.text(text)
        assert mask.text(once) == once


@given(st.binary(max_size=200))
def test_any_bytes_can_be_masked_and_those_without_data_stay(value: bytes):
    assert MASK.raw(b"\xff\x00" + value.replace(b"@", b"")[:0] + b"\xfe") == b"\xff\x00\xfe"
    assert isinstance(MASK.raw(value), bytes)


def test_data_between_bytes_that_are_no_text_is_masked():
    assert MASK.raw(b"\xff\x00a@b.example\xfe pass\xff password=x\xfe\xffy z") == (
        b"<EMAIL> pass\xff password=<SECRET> z"
    )


def test_a_pseudonym_is_the_same_for_the_same_and_different_under_another_key():
    one, other = KEYED.text("a@b.example A@B.example"), KEYED.text("c@b.example")
    first, second = one.split()
    assert first == second != other
    assert first.startswith("<EMAIL#")
    assert masker(KINDS, key=b"fedcba9876543210").text("a@b.example") not in one


def test_a_pseudonym_cannot_be_had_without_the_key():
    assert "0123456789abcdef" not in repr(KEYED)


@pytest.mark.parametrize("rule", ["forms", "whole", "plain"])
def test_an_entity_is_shown_as_the_configuration_says(rule: str):
    shown = masker(KINDS, key=b"0123456789abcdef", entity=rule).name("web-01 of a@b.example")
    assert ("a@b.example" in shown) is (rule == "plain")
    assert ("web-01" in shown) is (rule != "whole")


def form_by_form(mask: Masker, value: bytes) -> bytes:
    for form in mask.forms:
        value = mask._without(form, value)
    return value


@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=16).map(lambda found: _encoded("".join(found)))))
@example(b"password=,y")  # the mark of the comma is what makes a secret of it
def test_looking_for_all_forms_at_once_masks_what_each_alone_would(value: bytes):
    for mask in (MASK, KEYED, OWN):
        assert mask.raw(value) == form_by_form(mask, value)


@pytest.mark.parametrize("size", [1 << 12, 1 << 20])
def test_no_form_is_missed_in_a_value_that_needs_many_states(size: int):
    draw = random.Random(11)
    signs = b"abcdef0123456789@.:=-_ \"'/\\userpasswdtokenfor"
    value = bytes(draw.choice(signs) for _ in range(size)) + b" password=hunter2 a@b.example"
    found = MASK._finder.found(value)
    assert found >= {place for place, form in enumerate(MASK.forms) if form.expression.search(value)}
    assert b"hunter2" not in MASK.raw(value)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def test_nothing_is_masked_where_masking_is_off():
    assert NOTHING.text("a@b.example") == NOTHING.name("a@b.example") == "a@b.example"


HOSTILE = [
    "a@b",
    "a" * 50,
    "4111 ",
    "0" * 40,
    "password=",
    '"\\',
    "://:@",
    "0:",
    "eyJa.",
    "user=x ",
    "\\\\\\",
    "for user ",
]
HOSTILE += ["-----BEGIN PRIVATE KEY-----", "a%40", "token:'", "DE89 3704 ", "(to x) ", "--password "]


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_line_takes_time_in_proportion_to_its_length(unit: str):
    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        return min(_timed(text) for _ in range(3))

    # Eight times the text; a quadratic expression would take 64 times as long.
    assert seconds(256_000) < 24 * max(seconds(32_000), 0.002)


def _timed(text: str) -> float:
    before = time.process_time()
    MASK.text(text)
    return time.process_time() - before
