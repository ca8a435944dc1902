"""The backward kernels against autograd through the definition; in the interpreter where there is no GPU."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longwatch.kernels import Pattern, parse_pattern, reference_attention
from longwatch.kernels.triton_impl.backward import Gradients, attention_backward
from longwatch.kernels.triton_impl.device_plan import build_device_plan
from longwatch.kernels.triton_impl.forward import attention_forward

CUDA = torch.cuda.is_available()
DEVICE, DTYPE, BUDGET = ("cuda", torch.float16, 2e-2) if CUDA else ("cpu", torch.float32, 5e-5)
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log2:RuntimeWarning")
PATTERNS = st.sampled_from(
    ["sliding(70)", "sliding(40) | global(3)", "strided(96, width=32)", "global(5)", "dense"]
).map(parse_pattern)
LENGTHS = st.lists(st.sampled_from([0, 1, 20, 63, 64, 65, 130, 200]), min_size=1, max_size=3)


def draw(tokens: int, heads: int, kv_heads: int, width: int = 32) -> list[Tensor]:
    torch.manual_seed(tokens)
    return [
        torch.randn(tokens, count, width, dtype=DTYPE, device=DEVICE) for count in (heads, kv_heads, kv_heads, heads)
    ]


def by_autograd(
    inputs: list[Tensor], sink: Tensor, grad_lse: Tensor, pattern: Pattern, bounds: list[int]
) -> list[Tensor]:
    leaves = [tensor.double().requires_grad_() for tensor in (*inputs[:3], sink)]
    query, key, value, logit = leaves
    out, lse = reference_attention(query, key, value, pattern, torch.tensor(bounds), 0.2, sink=logit, return_lse=True)
    return list(torch.autograd.grad((out, lse), leaves, (inputs[3].double(), grad_lse.T.double())))


def by_kernels(
    inputs: list[Tensor], sink: Tensor, grad_lse: Tensor, pattern: Pattern, bounds: list[int], deterministic: bool
) -> Gradients:
    query, key, value, grad_out = inputs
    plan = build_device_plan(pattern, bounds, device=DEVICE)
    out, lse = attention_forward(query, key, value, plan, 0.2, sink)
    return attention_backward(
        grad_out, grad_lse, query, key, value, out, lse, plan, 0.2, sink, deterministic=deterministic
    )


def check(pattern: Pattern, bounds: list[int], heads: tuple[int, int], deterministic: bool) -> None:
    inputs, sink = draw(bounds[-1], *heads), torch.randn(heads[0], device=DEVICE)
    grad_lse = torch.randn(heads[0], bounds[-1], device=DEVICE)
    found = by_kernels(inputs, sink, grad_lse, pattern, bounds, deterministic)
    expected = by_autograd(inputs, sink, grad_lse, pattern, bounds)
    for ours, theirs in zip((found.query, found.key, found.value, found.sink), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=BUDGET, atol=BUDGET * 10)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(pattern=PATTERNS, lengths=LENGTHS, heads=st.sampled_from([(1, 1), (2, 1), (4, 2)]), deterministic=st.booleans())
def test_all_gradients_are_the_definitions(
    pattern: Pattern, lengths: list[int], heads: tuple[int, int], deterministic: bool
) -> None:
    check(pattern, [sum(lengths[:place]) for place in range(len(lengths) + 1)], heads, deterministic)


@pytest.mark.slow
def test_a_split_key_column_sums_to_the_same() -> None:
    pattern, bounds = parse_pattern("sliding(20) | global(2)"), [0, 64 * 66]
    assert build_device_plan(pattern, bounds, device=DEVICE).parts > 0
    check(pattern, bounds, (1, 1), True)


def test_two_runs_are_bitwise_one() -> None:
    pattern, bounds = parse_pattern("sliding(40) | global(3)"), [0, 150, 200]
    inputs, sink, grad_lse = draw(200, 2, 1), torch.randn(2, device=DEVICE), torch.randn(2, 200, device=DEVICE)
    first, second = (by_kernels(inputs, sink, grad_lse, pattern, bounds, True) for _ in range(2))
    assert torch.equal(first.query, second.query)
    assert torch.equal(first.key, second.key)
    assert torch.equal(first.value, second.value)


def test_poison_beside_a_document_reaches_none_of_its_gradients() -> None:
    pattern, bounds = parse_pattern("sliding(70)"), [0, 50, 150, 170]
    inputs = draw(170, 1, 1)
    for tensor in inputs:
        tensor[:50] = tensor[150:] = float("nan")
    sink, grad_lse = torch.zeros(1, device=DEVICE), torch.zeros(1, 170, device=DEVICE)
    found = by_kernels(inputs, sink, grad_lse, pattern, bounds, True)
    assert all(bool(tensor[50:150].isfinite().all()) for tensor in (found.query, found.key, found.value))


def test_no_token_gives_no_gradient() -> None:
    inputs, none = draw(0, 2, 1), torch.zeros(2, 0, device=DEVICE)
    found = by_kernels(inputs, torch.zeros(2, device=DEVICE), none, parse_pattern("dense"), [0], True)
    assert found.query.shape == (0, 2, 32)
    assert found.sink is not None
    assert not found.sink.any()
