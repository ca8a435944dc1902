"""The forward kernel against the definition; in the interpreter where there is no GPU."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longwatch.kernels import Pattern, parse_pattern, reference_attention
from longwatch.kernels.triton_impl.device_plan import build_device_plan
from longwatch.kernels.triton_impl.forward import Launch, attention_forward

CUDA = torch.cuda.is_available()
DEVICE, DTYPE, BUDGET = ("cuda", torch.float16, 4e-3) if CUDA else ("cpu", torch.float32, 2e-5)
# A dead row of a tile has a sum of 0, whose logarithm is not used.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log2:RuntimeWarning")
PATTERNS = st.sampled_from(
    ["sliding(1)", "sliding(70)", "sliding(40) | global(3)", "strided(96, width=32)", "global(5)", "dense"]
).map(parse_pattern)
LENGTHS = st.lists(st.sampled_from([0, 1, 20, 63, 64, 65, 128, 130, 200]), min_size=1, max_size=3)


def draw(tokens: int, heads: int = 2, kv_heads: int = 1, width: int = 32) -> list[Tensor]:
    torch.manual_seed(tokens)
    return [torch.randn(tokens, count, width, dtype=DTYPE, device=DEVICE) for count in (heads, kv_heads, kv_heads)]


def bounds_of(lengths: list[int]) -> list[int]:
    return [sum(lengths[:place]) for place in range(len(lengths) + 1)]


def definition(inputs: list[Tensor], pattern: Pattern, bounds: list[int], sink: Tensor | None) -> tuple[Tensor, Tensor]:
    query, key, value = (tensor.double() for tensor in inputs)
    wide = None if sink is None else sink.double()
    return reference_attention(query, key, value, pattern, torch.tensor(bounds), 0.2, sink=wide, return_lse=True)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    pattern=PATTERNS,
    lengths=LENGTHS,
    with_sink=st.booleans(),
    launch=st.sampled_from([(32, 64), (64, 64), (128, 64), (128, 128)]),
)
def test_output_and_lse_are_the_definitions(
    pattern: Pattern, lengths: list[int], with_sink: bool, launch: tuple[int, int]
) -> None:
    bounds = bounds_of(lengths)
    inputs, sink = draw(bounds[-1]), torch.randn(2, device=DEVICE) if with_sink else None
    plan = build_device_plan(pattern, bounds, device=DEVICE, key_block=launch[1])
    out, lse = attention_forward(*inputs, plan, 0.2, sink, Launch(launch[0], 4, 2))
    expected, expected_lse = definition(inputs, pattern, bounds, sink)
    torch.testing.assert_close(out.double(), expected, rtol=BUDGET, atol=BUDGET)
    torch.testing.assert_close(lse.T.double(), expected_lse, rtol=BUDGET, atol=BUDGET)


@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_head_width_and_short_dtype_is_right(width: int, dtype: torch.dtype) -> None:
    pattern, bounds = parse_pattern("sliding(50)"), [0, 90]
    inputs = [tensor.to(dtype) for tensor in draw(90, width=width)]
    out, _ = attention_forward(*inputs, build_device_plan(pattern, bounds, device=DEVICE), 0.2)
    expected, _ = definition(inputs, pattern, bounds, None)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("longest", [32, 64, 65])
def test_a_pack_of_short_documents_takes_programs_of_their_height(longest: int) -> None:
    pattern, bounds = parse_pattern("sliding(50) | global(3)"), bounds_of([longest, 0, 1, 20, longest])
    inputs = draw(bounds[-1])
    plan = build_device_plan(pattern, bounds, device=DEVICE)
    assert plan.longest == longest
    out, lse = attention_forward(*inputs, plan, 0.2)
    high, high_lse = attention_forward(*inputs, plan, 0.2, None, Launch(128, 4, 2))
    assert torch.equal(out, high)
    assert torch.equal(lse, high_lse)


def test_a_document_alone_is_bitwise_the_same_packed_beside_poison() -> None:
    pattern, launch = parse_pattern("sliding(70) | global(4)"), Launch(64, 4, 2)
    packed = [torch.full((230, count, 32), math.nan, dtype=DTYPE, device=DEVICE) for count in (2, 1, 1)]
    alone = draw(130)
    for into, tensor in zip(packed, alone, strict=True):
        into[50:180] = tensor
    together, _ = attention_forward(
        *packed, build_device_plan(pattern, [0, 50, 180, 230], device=DEVICE), 0.2, None, launch
    )
    by_itself, _ = attention_forward(*alone, build_device_plan(pattern, [0, 130], device=DEVICE), 0.2, None, launch)
    assert torch.equal(together[50:180], by_itself)


def test_tile_height_does_not_change_a_bit() -> None:
    inputs = draw(300)
    plan = build_device_plan(parse_pattern("sliding(90)"), [0, 300], device=DEVICE)
    tall, _ = attention_forward(*inputs, plan, 0.2, None, Launch(128, 4, 2))
    low, _ = attention_forward(*inputs, plan, 0.2, None, Launch(64, 4, 2))
    assert torch.equal(tall, low)


def test_strided_inputs_need_no_copy() -> None:
    query, key, value = draw(80, heads=2, kv_heads=2)
    plan = build_device_plan(parse_pattern("sliding(30)"), [0, 80], device=DEVICE)
    both = torch.stack([key, value], dim=1)
    expected, _ = attention_forward(query, key, value, plan, 0.2)
    out, _ = attention_forward(query, both[:, 0], both[:, 1], plan, 0.2)
    assert torch.equal(out, expected)


def test_no_token_gives_no_row() -> None:
    out, lse = attention_forward(*draw(0), build_device_plan(parse_pattern("dense"), [0], device=DEVICE), 0.2)
    assert out.shape == (0, 2, 32)
    assert lse.shape == (2, 0)
