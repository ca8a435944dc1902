import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longwatch.kernels import (
    Dense,
    Global,
    Pattern,
    PatternError,
    Sliding,
    Strided,
    Union,
    parse_pattern,
    receptive_field,
)


def keys_seen(pattern: Pattern, query: int, length: int = 12) -> list[int]:
    return np.flatnonzero(pattern.visible(np.array(query), np.arange(length))).tolist()


def test_sliding_shows_the_token_itself_and_the_span_before_it() -> None:
    assert keys_seen(Sliding(3), 5) == [3, 4, 5]
    assert keys_seen(Sliding(3), 1) == [0, 1]


def test_strided_shows_the_last_width_of_every_stride_by_absolute_position() -> None:
    assert keys_seen(Strided(4, width=1), 8) == [3, 7]
    assert keys_seen(Strided(4, width=2), 6) == [2, 3, 6]


def test_global_shows_the_first_tokens_up_to_the_query() -> None:
    assert keys_seen(Global(3), 9) == [0, 1, 2]
    assert keys_seen(Global(3), 1) == [0, 1]


def test_dense_shows_everything_up_to_the_query() -> None:
    assert keys_seen(Dense(), 4) == [0, 1, 2, 3, 4]


@given(st.from_type(Pattern), st.from_type(Pattern), st.integers(0, 80))
def test_a_union_shows_what_either_shows(left: Pattern, right: Pattern, query: int) -> None:
    keys = np.arange(100)
    either = left.visible(query, keys) | right.visible(query, keys)
    np.testing.assert_array_equal((left | right).visible(query, keys), either)


@given(st.from_type(Pattern))
def test_tensors_and_arrays_agree(pattern: Pattern) -> None:
    position = np.arange(60)
    array = pattern.visible(position[:, None], position[None, :])
    tensor = pattern.visible(torch.arange(60)[:, None], torch.arange(60)[None, :])
    assert tensor.dtype == torch.bool
    np.testing.assert_array_equal(tensor.numpy(), array)


@given(st.from_type(Pattern))
def test_text_round_trips(pattern: Pattern) -> None:
    assert parse_pattern(str(pattern)) == pattern
    assert str(parse_pattern(str(pattern))) == str(pattern)


@given(st.from_type(Pattern), st.from_type(Pattern), st.from_type(Pattern))
def test_union_is_flat_and_forgets_order_and_repeats(first: Pattern, second: Pattern, third: Pattern) -> None:
    assert (first | second) | third == third | (second | first) | first
    assert hash(first | second) == hash(second | first)
    assert not any(isinstance(part, Union) for part in (first | (second | third)).parts)


def test_spacing_and_argument_names_do_not_matter() -> None:
    expected = Sliding(512) | Strided(128, 32) | Global(16)
    assert parse_pattern(" global( first = 16 )|strided(128,width=32) | sliding(512)") == expected
    assert str(expected) == "sliding(512) | strided(128, width=32) | global(16)"
    assert parse_pattern("dense()") == parse_pattern("dense") == Dense()


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("slidng(4)", 1, "did you mean 'sliding'"),
        ("sliding(4) | globe(2)", 14, "did you mean 'global'"),
        ("sliding(4) | zzz(2)", 14, "expected one of sliding, strided, global, dense"),
        ("sliding(4) |", 13, "expected one of sliding"),
        ("", 1, "expected one of sliding"),
        ("sliding(4) global(2)", 12, "join patterns by '|'"),
        ("sliding(4", 8, "is not expected here"),
        ("sliding(four)", 9, "expected sliding(span)"),
        ("sliding(-4)", 9, "expected sliding(span)"),
        ("sliding(4, 5)", 12, "expected sliding(span)"),
        ("sliding", 1, "expected sliding(span)"),
        ("dense(3)", 7, "expected dense"),
        ("strided(64, wide=3)", 13, "did you mean 'width'"),
        ("strided(64, stride=3)", 13, "given twice"),
        ("sliding(8) | sliding(0)", 14, "at least 1, got 0"),
        ("strided(32)", 1, "width 64 is more than stride 32"),
    ],
)
def test_an_error_names_the_column_and_what_would_do(text: str, column: int, words: str) -> None:
    with pytest.raises(PatternError) as caught:
        parse_pattern(text)
    assert caught.value.column == column
    assert words in str(caught.value)
    assert f"column {column}" in str(caught.value)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Sliding(0), "span must be a whole number of at least 1, got 0"),
        (lambda: Sliding(True), "got True"),
        (lambda: Strided(8, width=9), "expected width <= stride"),
        (lambda: Global(-1), "first must be"),
        (lambda: Union((Sliding(2),)), "at least two different patterns"),
    ],
)
def test_arguments_are_checked(build: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()  # type: ignore[operator]


def test_receptive_field_of_sliding_layers_adds_up() -> None:
    assert receptive_field([]) == 1
    assert receptive_field([Sliding(512), Sliding(512), Sliding(1)]) == 1 + 511 + 511
    assert receptive_field([Sliding(3) | Sliding(9)]) == 9


@pytest.mark.parametrize("far", [Dense(), Global(1), Strided(64), Sliding(4) | Global(1)])
def test_receptive_field_is_unbounded_once_a_layer_reaches_the_start(far: Pattern) -> None:
    assert receptive_field([Sliding(4), far]) is None


def test_patterns_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from longwatch.kernels import parse_pattern, build_plan\n"
        "assert build_plan(parse_pattern('sliding(4)'), [0, 9], 4).live_blocks == 5"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
