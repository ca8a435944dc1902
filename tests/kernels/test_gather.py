from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels import Pattern, gather_attention, parse_pattern, reference_attention

TEXTS = [
    "sliding(1)",
    "sliding(16)",
    "sliding(17)",
    "sliding(18)",
    "sliding(50)",
    "strided(24, width=5)",
    "strided(16, width=16)",
    "global(3)",
    "global(40)",
    "sliding(20) | global(9)",
    "sliding(3) | strided(20, width=4)",
    "strided(16, width=4) | strided(24, width=6)",
    "sliding(30) | strided(40, width=8) | global(70)",
    "dense",
    "dense | global(4)",
]


def draw(tokens: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(tokens * 1000 + heads * 100 + width)
    shapes = [(2, tokens, count, width) for count in (heads, kv_heads, kv_heads)]
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def by_definition(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, sink: Tensor | None = None) -> Tensor:
    batch, tokens = query.shape[:2]
    bounds = torch.arange(batch + 1) * tokens
    packed = [tensor.flatten(0, 1) for tensor in (query, key, value)]
    return reference_attention(packed[0], packed[1], packed[2], pattern, bounds, sink=sink).view_as(query)


@pytest.mark.parametrize(("text", "blocks"), list(product(TEXTS, [1, 2, 3, 7])))
def test_output_and_gradients_are_the_definitions(text: str, blocks: int) -> None:
    inputs = draw(16 * blocks, 4, 2, 16)
    pattern = parse_pattern(text)
    got, expected = gather_attention(*inputs, pattern, 16), by_definition(*inputs, pattern)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    upstream = torch.randn_like(got)
    slopes = [torch.autograd.grad(output, inputs, upstream) for output in (got, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_with_a_sink_output_and_gradients_are_the_definitions(text: str) -> None:
    inputs, sink = draw(48, 4, 2, 16), torch.tensor([-2.0, 0, 1, 5], dtype=torch.float64, requires_grad=True)
    pattern = parse_pattern(text)
    got, expected = gather_attention(*inputs, pattern, 16, sink=sink), by_definition(*inputs, pattern, sink)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    upstream = torch.randn_like(got)
    slopes = [torch.autograd.grad(output, [*inputs, sink], upstream) for output in (got, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@settings(deadline=None)
@given(
    st.from_type(Pattern),
    st.integers(1, 6),
    st.sampled_from([1, 2, 5, 8, 16]),
    st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    st.sampled_from([16, 32, 64]),
)
def test_any_pattern_length_block_grouping_and_width_is_the_definition(
    pattern: Pattern, blocks: int, block_size: int, heads: tuple[int, int], width: int
) -> None:
    inputs = draw(blocks * block_size, *heads, width)
    got = gather_attention(*inputs, pattern, block_size)
    torch.testing.assert_close(got, by_definition(*inputs, pattern), rtol=1e-10, atol=1e-12)


def test_dense_is_causal_scaled_dot_product_attention() -> None:
    inputs = draw(64, 4, 2, 32)
    rows, keys, values = (tensor.transpose(1, 2) for tensor in inputs)
    expected = F.scaled_dot_product_attention(rows, keys, values, is_causal=True, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(gather_attention(*inputs, parse_pattern("dense"), 16), expected)


@pytest.mark.parametrize("text", ["sliding(20) | strided(24, width=5)", "dense"])
def test_one_compiled_graph_serves_every_length(text: str) -> None:
    pattern = parse_pattern(text)
    compiled = torch.compile(gather_attention, backend="eager", fullgraph=True, dynamic=True)
    for blocks in (3, 2, 9):
        inputs = draw(16 * blocks, 2, 1, 16)
        torch.testing.assert_close(compiled(*inputs, pattern, 16), by_definition(*inputs, pattern))


def test_one_pattern_per_head_group_is_each_group_alone() -> None:
    query, key, value = draw(48, 8, 4, 16)
    patterns = [parse_pattern("sliding(9)"), parse_pattern("global(5)")]
    got = gather_attention(query, key, value, patterns, 16)
    for half, pattern in enumerate(patterns):
        heads, kv = slice(4 * half, 4 * half + 4), slice(2 * half, 2 * half + 2)
        alone = gather_attention(query[:, :, heads], key[:, :, kv], value[:, :, kv], pattern, 16)
        torch.testing.assert_close(got[:, :, heads], alone)


@pytest.mark.parametrize("text", TEXTS)
def test_a_later_token_never_changes_an_earlier_output(text: str) -> None:
    query, key, value = draw(64, 2, 2, 16)
    before = gather_attention(query, key, value, parse_pattern(text), 16)
    with torch.no_grad():
        for tensor in (query, key, value):
            tensor[:, 37:] = 1e3
    after = gather_attention(query, key, value, parse_pattern(text), 16)
    torch.testing.assert_close(after[:, :37], before[:, :37], rtol=0, atol=0)


@pytest.mark.parametrize("text", TEXTS)
def test_padding_on_the_right_changes_nothing(text: str) -> None:
    inputs = draw(48, 2, 1, 16)
    pattern = parse_pattern(text)
    longer = [F.pad(tensor, (0, 0, 0, 0, 0, 32)) for tensor in inputs]
    torch.testing.assert_close(
        gather_attention(*longer, pattern, 16)[:, :48], gather_attention(*inputs, pattern, 16), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize(
    ("text", "width"), list(product(["sliding(50)", "sliding(20) | global(9)", "dense"], [16, 32, 64]))
)
def test_float32_error_is_within_twice_that_of_torchs_own_attention(text: str, width: int) -> None:
    exact = draw(256, 4, 2, width)
    single = [tensor.detach().float() for tensor in exact]
    exact = [tensor.double() for tensor in single]
    pattern = parse_pattern(text)
    expected = by_definition(*exact, pattern)
    position = torch.arange(256)
    mask = pattern.visible(position[:, None], position[None, :])
    rows, keys, values = (tensor.transpose(1, 2) for tensor in single)
    theirs = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, enable_gqa=True).transpose(1, 2)
    budget = 2 * (theirs - expected).abs().max() + 2 * torch.finfo(torch.float32).eps * expected.abs().max()
    assert (gather_attention(*single, pattern, 16) - expected).abs().max() <= budget


def test_scores_far_beyond_any_fixed_mask_constant_stay_hidden() -> None:
    query, key, value = (tensor.detach().float() for tensor in draw(32, 1, 1, 16))
    key[:] = -1e15 * query.sign()
    got = gather_attention(query * 1e15, key, value, parse_pattern("sliding(1)"), 16)
    torch.testing.assert_close(got, value)


def test_half_precision_keeps_its_dtype_and_its_accuracy() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        inputs = [tensor.detach().to(dtype) for tensor in draw(64, 2, 1, 16)]
        got = gather_attention(*inputs, parse_pattern("sliding(20) | global(9)"), 16)
        expected = by_definition(*(tensor.double() for tensor in inputs), parse_pattern("sliding(20) | global(9)"))
        assert got.dtype == dtype
        assert (got - expected).abs().max() <= 8 * torch.finfo(dtype).eps * expected.abs().max()


@pytest.mark.parametrize(
    ("shapes", "block", "words"),
    [
        (((1, 20, 2, 4),) * 3, 16, "query: expected T a multiple of block_size 16, got T 20"),
        (((1, 16, 2, 4),) * 3, 0, "multiple of block_size 0"),
        (((16, 2, 4), (1, 16, 2, 4), (1, 16, 2, 4)), 16, r"query: expected \[B, T, H, D\], got shape \[16, 2, 4\]"),
        (((1, 16, 4, 4), (1, 16, 3, 4), (1, 16, 3, 4)), 16, "key: expected heads that divide query's 4, got 3"),
        (((1, 16, 4, 4), (1, 16, 2, 8), (1, 16, 2, 8)), 16, r"key: expected shape \[1, 16, 2, 4\]"),
        (((1, 16, 4, 4), (1, 16, 2, 4), (1, 16, 1, 4)), 16, r"value: expected shape \[1, 16, 2, 4\]"),
    ],
)
def test_an_error_names_the_argument(shapes: tuple[tuple[int, ...], ...], block: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gather_attention(*(torch.zeros(shape) for shape in shapes), parse_pattern("sliding(4)"), block)


def test_dtypes_must_agree() -> None:
    query = torch.zeros(1, 16, 2, 4)
    with pytest.raises(ValueError, match=r"value: expected one floating dtype for all, got torch\.float64"):
        gather_attention(query, query, query.double(), parse_pattern("sliding(4)"), 16)


def test_a_sink_must_have_a_logit_per_head() -> None:
    query = torch.zeros(1, 16, 2, 4)
    with pytest.raises(ValueError, match=r"sink: expected floating \[2\], a logit per head"):
        gather_attention(query, query, query, parse_pattern("sliding(4)"), 16, sink=torch.zeros(4))


def test_head_groups_must_divide_the_key_heads() -> None:
    query = torch.zeros(1, 16, 2, 4)
    with pytest.raises(ValueError, match="pattern: expected head groups that divide 2 key heads, got 3"):
        gather_attention(query, query, query, [parse_pattern("sliding(4)")] * 3, 16)
