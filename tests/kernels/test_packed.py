import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longwatch.kernels import (
    Pattern,
    block_sparse_attention,
    build_plan,
    packed_gather_attention,
    parse_pattern,
    reference_attention,
)
from longwatch.kernels import packed as packed_module


def draw(tokens: int, heads: int = 4, kv_heads: int = 2, width: int = 16) -> list[Tensor]:
    torch.manual_seed(tokens)
    shapes = [(tokens, count, width) for count in (heads, kv_heads, kv_heads)]
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


def offsets(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


@settings(deadline=None)
@given(
    st.from_type(Pattern),
    st.lists(st.integers(0, 50), min_size=1, max_size=4),
    st.integers(1, 17),
    st.sampled_from([(1, 1), (4, 2), (6, 3)]),
)
def test_output_and_gradients_are_the_definitions(
    pattern: Pattern, lengths: list[int], block_size: int, heads: tuple[int, int]
) -> None:
    inputs, bounds = draw(sum(lengths), *heads), offsets(lengths)
    got = packed_gather_attention(*inputs, build_plan(pattern, bounds, block_size))
    expected = reference_attention(*inputs, pattern, bounds)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    upstream = torch.randn_like(got)
    slopes = [torch.autograd.grad(output, inputs, upstream, materialize_grads=True) for output in (got, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("implementation", ["reference", "gather"])
@pytest.mark.parametrize("text", ["sliding(20) | global(9)", "strided(12, width=3)", "dense"])
def test_a_neighbours_nan_never_reaches_a_document(text: str, implementation: str) -> None:
    bounds = offsets([13, 21, 9])
    query, key, value = draw(43)
    plan = build_plan(parse_pattern(text), bounds, 8)
    clean = block_sparse_attention(query, key, value, plan, implementation=implementation)[13:34]
    spoiled = [tensor.detach().clone() for tensor in (query, key, value)]
    for tensor in spoiled:
        tensor[:13] = torch.nan
        tensor[34:] = torch.nan
        tensor.requires_grad_()
    got = block_sparse_attention(*spoiled, plan, implementation=implementation)[13:34]
    torch.testing.assert_close(got, clean, rtol=0, atol=0)
    ours = torch.autograd.grad(got.sum(), spoiled)
    theirs = torch.autograd.grad(clean.sum(), [query, key, value])
    for spoiled_slope, clean_slope in zip(ours, theirs, strict=True):
        torch.testing.assert_close(spoiled_slope[13:34], clean_slope[13:34], rtol=0, atol=1e-13)


def test_a_query_that_sees_no_key_gives_zero_and_no_gradient() -> None:
    query, key, value = draw(6)
    pattern = parse_pattern("strided(4, width=1)")
    for implementation in ("reference", "gather"):
        plan = build_plan(pattern, [0, 6], 4)
        got = block_sparse_attention(query, key, value, plan, implementation=implementation)
        assert torch.equal(got[:3], torch.zeros_like(got[:3]))
        assert torch.equal(got[3], value[3].repeat_interleave(2, dim=0))
        slopes = torch.autograd.grad(got[:3].sum(), [query, key, value])
        assert all(bool((slope == 0).all()) for slope in slopes)
    lse = reference_attention(query, key, value, pattern, torch.tensor([0, 6]), return_lse=True)[1]
    assert bool((lse[:3] == -torch.inf).all())


def test_lse_is_the_log_of_the_sum_of_exponentials() -> None:
    query, key, value = draw(5, 1, 1)
    _, lse = reference_attention(query, key, value, parse_pattern("dense"), torch.tensor([0, 5]), return_lse=True)
    scores = query[4, 0] @ key[:, 0].T / 4
    torch.testing.assert_close(lse[4, 0], scores.exp().sum().log())


@pytest.mark.parametrize("text", ["sliding(9) | global(3)", "strided(12, width=3)", "dense"])
def test_sink_and_lse_are_the_definitions(text: str) -> None:
    inputs, bounds, pattern = draw(43), offsets([13, 0, 21, 9]), parse_pattern(text)
    sink = torch.tensor([-2.0, 0, 1, 5], dtype=torch.float64, requires_grad=True)
    got = packed_gather_attention(*inputs, build_plan(pattern, bounds, 8), sink=sink, return_lse=True)
    expected = reference_attention(*inputs, pattern, bounds, sink=sink, return_lse=True)
    upstream = [torch.randn_like(each) for each in got]
    slopes = [torch.autograd.grad(outputs, [*inputs, sink], upstream) for outputs in (got, expected)]
    for ours, theirs in zip([*got, *slopes[0]], [*expected, *slopes[1]], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_chunks_of_tiles_do_not_change_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draw(90)
    plan = build_plan(parse_pattern("sliding(20) | strided(16, width=3)"), [0, 50, 90], 8)
    whole = packed_gather_attention(*inputs, plan)
    monkeypatch.setattr(packed_module, "_SCORES", 1)
    torch.testing.assert_close(packed_gather_attention(*inputs, plan), whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("implementation", ["reference", "gather", "auto"])
def test_head_groups_follow_their_own_pattern(implementation: str) -> None:
    query, key, value = draw(40)
    patterns = [parse_pattern("sliding(6)"), parse_pattern("dense")]
    got = block_sparse_attention(query, key, value, build_plan(patterns, [0, 40], 8), implementation=implementation)
    for group, pattern in enumerate(patterns):
        heads, kv = slice(2 * group, 2 * group + 2), slice(group, group + 1)
        alone = reference_attention(query[:, heads], key[:, kv], value[:, kv], pattern, torch.tensor([0, 40]))
        torch.testing.assert_close(got[:, heads], alone)
