import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from longwatch.pipeline.compiled import compiled
from longwatch.pipeline.siphash import siphash13
from longwatch.pipeline.template_kernel import LEAF_BYTES, SCRATCH_BYTES, write_leaf

PIECES = [
    " ",
    "\t",
    "=",
    "<*>",
    "(",
    ")",
    "()",
    "/",
    "\\",
    ".",
    "é",
    "日",
    "x.y",
    ":",
    "-",
    "user",
    "Sun",
    "KB",
    "ab",
    "7",
    "@",
    ",",
]
MESSAGES = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))


def leaf(message: str, before: bytes = b"", after: bytes = b"", dirt: int = 0) -> bytes:
    data = np.frombuffer(before + message.encode() + after, np.uint8)
    out = np.full(SCRATCH_BYTES, dirt, np.uint8)
    size = write_leaf(data, len(before), len(data) - len(after), out)
    return bytes(out[:size])


@settings(max_examples=500, deadline=None)
@given(MESSAGES, st.binary(max_size=9), st.binary(max_size=9), st.integers(0, 255))
def test_a_leaf_depends_on_its_message_alone(message, before, after, dirt):
    assert leaf(message, before, after, dirt) == leaf(message)


@settings(max_examples=500, deadline=None)
@given(MESSAGES)
def test_a_leaf_is_text_without_digits_or_double_blanks(message):
    text = leaf(message).decode()
    assert not set(text) & set("0123456789\t\n")
    assert "  " not in text
    assert text == text.strip(" ")


@settings(max_examples=500, deadline=None)
@given(MESSAGES)
def test_a_leaf_shows_nothing_that_its_message_lacks(message):
    rest = iter(message)
    shown = leaf(message).decode().replace("<*>", "").replace(" ", "")
    assert all(letter in rest for letter in shown)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["a", "é", "日", "ab ", "é ", "1 ", "=é "]), st.integers(0, 3), st.integers(300, 1400), MESSAGES)
@example("日", 0, 400, "")
@example("日", 2, 400, "7")
def test_an_endless_message_has_a_leaf_of_bounded_bytes_that_ends_with_a_whole_character(piece, shift, times, rest):
    found = leaf("a" * shift + piece * times + rest)
    assert len(found) <= LEAF_BYTES
    found.decode()


def test_a_digit_beyond_the_bound_still_makes_the_word_vary():
    assert leaf("a" * 2 * LEAF_BYTES + "7") == b"<*>"


@pytest.mark.parametrize("size", [*range(18), 63, 64, 65, 255, 256, 257])
def test_the_hash_is_siphash_1_3(size):
    """CPython hashes bytes with the same function, its key all zeros under PYTHONHASHSEED=0."""
    assert sys.hash_info.algorithm == "siphash13"
    content = bytes(range(1, 256)) * 2
    words = np.zeros(80, np.uint64)
    words.view(np.uint8)[:size] = np.frombuffer(content[:size], np.uint8)
    script = f"print(hash((bytes(range(1, 256)) * 2)[:{size}]) % 2**64)"
    run = [sys.executable, "-c", script]
    expected = int(subprocess.run(run, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True).stdout)
    if size:
        assert int(siphash13(words, size, np.zeros(2, np.uint64))) == expected


def test_another_key_gives_another_hash():
    words = np.zeros(2, np.uint64)
    assert len({int(siphash13(words, 5, np.array(key, np.uint64))) for key in ((0, 0), (0, 1), (1, 0), (2, 3))}) == 4


def test_a_function_is_compiled_where_no_cache_can_be_written():
    names: dict = {}
    exec("def twice(number):\n    return number * 2\n", names)  # of no file, so that no folder for a cache is found
    assert compiled(names["twice"])(21) == 42
