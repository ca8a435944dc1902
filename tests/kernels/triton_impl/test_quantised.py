"""The int8 forward against the definition on what its queries and keys stand for; in the interpreter without a GPU."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longwatch.kernels import Pattern, block_sparse_attention, build_plan, parse_pattern, reference_attention
from longwatch.kernels.triton_impl.device_plan import build_device_plan
from longwatch.kernels.triton_impl.quantised import quantise_keys, quantised_forward
from longwatch.kernels.triton_impl.quantised_op import quantised_attention

CUDA = torch.cuda.is_available()
DEVICE, DTYPE, BUDGET = ("cuda", torch.float16, 4e-3) if CUDA else ("cpu", torch.float32, 2e-5)
# A dead row of a tile has a sum of 0, whose logarithm is not used; NumPy warns of NaN.
pytestmark = pytest.mark.filterwarnings(
    "ignore:divide by zero encountered in log2:RuntimeWarning",
    "ignore:invalid value:RuntimeWarning",
    "ignore:All-NaN slice:RuntimeWarning",
)
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


def in_steps(rows: Tensor, largest: Tensor) -> Tensor:
    scale = largest.clamp_min(1e-12) / 127
    return (rows / scale).round() * scale


def slow(inputs: list[Tensor], pattern: Pattern, bounds: list[int], sink: Tensor | None) -> tuple[Tensor, Tensor]:
    """The definition, with keys before a query's tile of 128 in steps of their block of 64, and that query in its own.

    Tile by tile: earlier tiles are seen by the quantised query, its own tile by the query as it was.
    """
    query, key, value = (tensor.double() for tensor in inputs)
    heads, group = query.shape[1], query.shape[1] // key.shape[1]
    short_query = in_steps(query, query.abs().amax(-1, keepdim=True))
    out, lse = torch.zeros_like(query), query.new_zeros(query.shape[:2])
    for begin, end in filter(lambda ends: ends[0] < ends[1], pairwise(bounds)):
        place = torch.arange(end - begin, device=query.device)
        blocks = key[begin:end].split(64)
        short_key = torch.cat([in_steps(rows, rows.abs().amax((0, 2), keepdim=True)) for rows in blocks])
        seen = torch.from_numpy(pattern.visible(place.cpu().numpy()[:, None], place.cpu().numpy()[None, :]))
        earlier = place[None, :] < place[:, None] // 128 * 128
        for head in range(heads):
            rows, keys = query[begin:end, head], key[begin:end, head // group]
            logits = torch.where(earlier, short_query[begin:end, head] @ short_key[:, head // group].T, rows @ keys.T)
            logits = (logits * 0.2).masked_fill(~seen.to(query.device), -math.inf)
            if sink is not None:
                logits = torch.cat([logits, sink[head].double().expand(end - begin, 1)], 1)
            lse[begin:end, head] = logits.logsumexp(1)
            weights = logits.softmax(1).nan_to_num()[:, : end - begin]
            out[begin:end, head] = weights @ value[begin:end, head // group]
    return out, lse


@settings(max_examples=12, deadline=None, derandomize=True)
@given(pattern=PATTERNS, lengths=LENGTHS, with_sink=st.booleans(), size=st.sampled_from([0.3, 1.0, 8.0]))
def test_output_and_lse_are_the_definitions_of_the_quantised_inputs(
    pattern: Pattern, lengths: list[int], with_sink: bool, size: float
) -> None:
    bounds = bounds_of(lengths)
    inputs, sink = draw(bounds[-1]), torch.randn(2, device=DEVICE) if with_sink else None
    inputs[0] = inputs[0] * size
    plan = build_device_plan(pattern, bounds, device=DEVICE)
    out, lse = quantised_forward(*inputs, plan, 0.2, sink)
    expected, expected_lse = slow(inputs, pattern, bounds, sink)
    # One step of a logit, which the sums that start at 3 * 2**22 may be off by.
    budget = BUDGET + 6e-4 * size
    torch.testing.assert_close(out.double(), expected, rtol=budget, atol=budget)
    torch.testing.assert_close(lse.T.double(), expected_lse, rtol=budget, atol=budget)


@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_output_is_close_to_that_of_the_inputs_as_they_were(width: int, dtype: torch.dtype) -> None:
    pattern, bounds = parse_pattern("sliding(50)"), [0, 90]
    inputs = [tensor.to(dtype) for tensor in draw(90, width=width)]
    out, lse = quantised_forward(*inputs, build_device_plan(pattern, bounds, device=DEVICE), 0.2)
    expected, expected_lse = definition(inputs, pattern, bounds, None)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=8e-2, atol=8e-2)
    torch.testing.assert_close(lse.T.double(), expected_lse, rtol=8e-2, atol=8e-2)


def test_whole_blocks_are_in_steps_of_their_largest_magnitude() -> None:
    rows = draw(230, heads=3)[0] * torch.logspace(-6, 2, 230, device=DEVICE, dtype=DTYPE)[:, None, None]
    rows[:64, 1] = 0
    found = quantise_keys(rows, build_device_plan(parse_pattern("dense"), [0, 30, 230], device=DEVICE))
    for start in (30, 94, 158):
        steps, worth = found.steps[start : start + 64].double(), found.table[:, start].double()[:, None]
        assert (steps * worth - rows[start : start + 64].double()).abs().le(worth * 0.5001).all()
        assert steps.abs().amax((0, 2)).eq(127).all()
        norms = (steps * worth).norm(dim=2).amax(0)
        torch.testing.assert_close(found.table[:, start + 1].double(), norms, rtol=1e-4, atol=0)


def test_a_poisoned_key_reaches_all_that_see_it_or_its_block_from_another_tile() -> None:
    query, key, value = draw(300)
    key[40, 0, 5] = math.nan
    key[120, 0, 5] = math.inf
    plan = build_device_plan(parse_pattern("sliding(20)"), [0, 300], device=DEVICE)
    out, _ = quantised_forward(query, key, value, plan, 0.2)
    reached = out.isnan().any(-1).any(-1).nonzero().flatten().tolist()
    # Whether infinity times a query is infinity or minus that is the query's to say.
    assert [row for row in reached if row < 120 or row >= 128] == [*range(40, 60), *range(128, 128 + 19)]


def test_a_document_alone_is_bitwise_the_same_packed_beside_poison() -> None:
    pattern = parse_pattern("sliding(70) | global(4)")
    packed = [torch.full((230, count, 32), math.nan, dtype=DTYPE, device=DEVICE) for count in (2, 1, 1)]
    alone = draw(130)
    for into, tensor in zip(packed, alone, strict=True):
        into[50:180] = tensor
    together, _ = quantised_forward(*packed, build_device_plan(pattern, [0, 50, 180, 230], device=DEVICE), 0.2)
    by_itself, _ = quantised_forward(*alone, build_device_plan(pattern, [0, 130], device=DEVICE), 0.2)
    assert torch.equal(together[50:180], by_itself)


@pytest.mark.parametrize("text", ["sliding(90)", "strided(96, width=32) | sliding(20)", "dense"])
def test_what_comes_later_changes_no_bit(text: str) -> None:
    pattern, inputs = parse_pattern(text), draw(300)
    whole, _ = quantised_forward(*inputs, build_device_plan(pattern, [0, 300], device=DEVICE), 0.2)
    for length in (129, 170):
        short = [tensor[:length] for tensor in inputs]
        begun, _ = quantised_forward(*short, build_device_plan(pattern, [0, length], device=DEVICE), 0.2)
        assert torch.equal(whole[:length], begun)


def test_strided_inputs_need_no_copy() -> None:
    query, key, value = draw(80, heads=2, kv_heads=2)
    plan = build_device_plan(parse_pattern("sliding(30)"), [0, 80], device=DEVICE)
    both = torch.stack([key, value], dim=1)
    expected, _ = quantised_forward(query, key, value, plan, 0.2)
    out, _ = quantised_forward(query, both[:, 0], both[:, 1], plan, 0.2)
    assert torch.equal(out, expected)


def test_no_token_gives_no_row() -> None:
    out, lse = quantised_forward(*draw(0), build_device_plan(parse_pattern("dense"), [0], device=DEVICE), 0.2)
    assert out.shape == (0, 2, 32)
    assert lse.shape == (2, 0)


@pytest.mark.parametrize("text", ["sliding(70) | global(4)", "topk(1, block=64) | sliding(64)"])
def test_the_public_call_takes_every_plan(text: str) -> None:
    query, key, value = draw(200)
    plan = build_plan(parse_pattern(text), [0, 170, 200], 64)
    got, lse = block_sparse_attention(query, key, value, plan, -0.2, "int8", return_lse=True)
    expected, expected_lse = block_sparse_attention(query, key, value, plan, -0.2, "triton", return_lse=True)
    torch.testing.assert_close(got, expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(lse, expected_lse, rtol=0.1, atol=0.1)


def test_a_gradient_cannot_be_asked_for() -> None:
    query, key, value = draw(20)
    plan = build_plan(parse_pattern("sliding(7)"), [0, 20], 64)
    with pytest.raises(ValueError, match="key: expected no gradient to be asked for with implementation 'int8'"):
        block_sparse_attention(query, key.requires_grad_(), value, plan, implementation="int8")
    with torch.no_grad():
        assert block_sparse_attention(query, key, value, plan, implementation="int8").shape == query.shape


def test_the_op_tells_the_compiler_the_truth() -> None:
    plan = build_device_plan(parse_pattern("sliding(7)"), [0, 20], device=DEVICE)
    torch.library.opcheck(quantised_attention, (*draw(20), None, *plan.flatten(), 0.2))


def test_key_blocks_of_128_are_refused() -> None:
    plan = build_device_plan(parse_pattern("dense"), [0, 20], device=DEVICE, key_block=128)
    with pytest.raises(ValueError, match="plan: expected key_block 64 for int8, got 128"):
        quantised_forward(*draw(20), plan, 0.2)
