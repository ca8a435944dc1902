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
    TopK,
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
        ("topk(2, blok=8)", 9, "did you mean 'block'"),
        ("topk()", 1, "expected topk(count, block)"),
        ("topk(2) | topk(4)", 11, "expected one topk at most, got topk(2, block=64) and topk(4, block=64)"),
        ("dense | topk(4)", 9, "dense shows every block that topk(4, block=64) would choose"),
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
        (lambda: TopK(0), "count must be a whole number of at least 1, got 0"),
        (lambda: TopK(4, block=0), "block must be"),
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


def test_topk_is_written_and_read_like_any_pattern() -> None:
    assert str(parse_pattern("topk(8)")) == "topk(8, block=64)"
    pattern = parse_pattern("topk(8, block=32) | sliding(9) | global(2)")
    assert str(pattern) == "sliding(9) | global(2) | topk(8, block=32)"
    assert parse_pattern(str(pattern)) == pattern == TopK(8, 32) | Global(2) | Sliding(9)
    assert receptive_field([Sliding(4), pattern]) is None


def test_a_pattern_says_what_data_chooses_and_what_is_left() -> None:
    assert (Sliding(9) | TopK(8) | Global(2)).data_chosen == TopK(8)
    assert (Sliding(9) | TopK(8) | Global(2)).fixed == Sliding(9) | Global(2)
    assert (Sliding(9) | TopK(8)).fixed == Sliding(9)
    assert (TopK(8).data_chosen, TopK(8).fixed) == (TopK(8), None)
    assert (Sliding(9).data_chosen, Sliding(9).fixed) == (None, Sliding(9))


@given(st.from_type(Pattern), st.integers(0, 80))
def test_with_topk_what_is_certain_is_the_own_block_and_the_fixed_rule(pattern: Pattern, query: int) -> None:
    keys = np.arange(100)
    np.testing.assert_array_equal(pattern.certain(query, keys), pattern.visible(query, keys))
    own = (keys <= query) & (keys // 7 == query // 7)
    np.testing.assert_array_equal(TopK(3, block=7).certain(query, keys), own)
    if Dense() not in pattern.parts:
        both = (TopK(3, block=7) | pattern).certain(query, keys)
        np.testing.assert_array_equal(both, own | pattern.visible(query, keys))


@pytest.mark.parametrize("pattern", [TopK(2), TopK(2) | Sliding(4)])
def test_no_rule_of_positions_is_given_for_what_data_chooses(pattern: Pattern) -> None:
    for ask in (lambda: pattern.band, lambda: pattern.column(np.arange(3)), lambda: pattern.visible(1, np.arange(3))):
        with pytest.raises(ValueError, match=r"topk\(2, block=64\): data chooses what a query sees"):
            ask()


def test_patterns_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from longwatch.kernels import parse_pattern, build_plan\n"
        "assert build_plan(parse_pattern('sliding(4)'), [0, 9], 4).live_blocks == 5"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
