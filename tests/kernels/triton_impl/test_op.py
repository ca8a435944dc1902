"""The ops and the public entry over them; in the interpreter where there is no GPU."""

import pytest
import torch
from torch import Tensor

from longwatch.kernels import (
    block_sparse_attention,
    build_plan,
    parse_pattern,
    plan_on_device,
    reference_attention,
)
from longwatch.kernels.triton_impl import op
from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.plans import twin

CUDA = torch.cuda.is_available()
DEVICE, DTYPE, BUDGET = ("cuda", torch.float16, 1e-2) if CUDA else ("cpu", torch.float32, 1e-5)
BOUNDS = [0, 30, 30, 31, 101]
PATTERN = parse_pattern("sliding(40) | global(3)")

# A dead row of a tile has a sum of 0, whose logarithm is not used.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log2:RuntimeWarning")


def draw(tokens: int = 101, heads: int = 4, kv_heads: int = 2, width: int = 32) -> list[Tensor]:
    torch.manual_seed(tokens)
    shapes = [(tokens, count, width) for count in (heads, kv_heads, kv_heads)]
    tensors = [torch.randn(shape, dtype=DTYPE, device=DEVICE) for shape in shapes]
    return [tensor.requires_grad_() for tensor in (*tensors, torch.randn(heads, device=DEVICE))]


def exact(inputs: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in inputs]


def definition(inputs: list[Tensor], scale: float | None = None) -> tuple[Tensor, Tensor]:
    query, key, value, sink = inputs
    bounds = torch.tensor(BOUNDS)
    return reference_attention(query, key, value, PATTERN, bounds, scale, sink=sink, return_lse=True)


def triton(inputs: list[Tensor], plan: object, scale: float | None = None) -> tuple[Tensor, Tensor]:
    query, key, value, sink = inputs
    return block_sparse_attention(query, key, value, plan, scale, "triton", sink, return_lse=True)


def assert_close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours.double(), expected.double(), rtol=BUDGET, atol=BUDGET)


@pytest.mark.parametrize("scale", [None, -0.3, 0.0])
@pytest.mark.parametrize("host", [True, False], ids=["host plan", "device plan"])
def test_output_lse_and_all_gradients_are_the_definitions(host: bool, scale: float | None) -> None:
    inputs = draw()
    plan = build_plan(PATTERN, BOUNDS, 16) if host else plan_on_device(PATTERN, BOUNDS, device=DEVICE)
    same = exact(inputs)
    got, expected = triton(inputs, plan, scale), definition(same, scale)
    upstream = [torch.randn_like(each) for each in got]
    slopes = torch.autograd.grad(got, inputs, upstream)
    theirs = torch.autograd.grad(expected, same, [each.double() for each in upstream])
    for ours, other in zip([*got, *slopes], [*expected, *theirs], strict=True):
        assert_close(ours, other)


@pytest.mark.parametrize("which", [0, 1], ids=["output", "lse"])
def test_either_result_alone_has_its_gradient(which: int) -> None:
    inputs = draw()
    same, plan = exact(inputs), plan_on_device(PATTERN, BOUNDS, device=DEVICE)
    slopes = torch.autograd.grad(triton(inputs, plan)[which].sum(), inputs, materialize_grads=True)
    theirs = torch.autograd.grad(definition(same)[which].sum(), same, materialize_grads=True)
    for ours, other in zip(slopes, theirs, strict=True):
        assert_close(ours, other)


def test_strides_do_not_matter() -> None:
    inputs, plan = draw(), plan_on_device(PATTERN, BOUNDS, device=DEVICE)
    # Three views of one projection, heads in the wrong place, and a value whose last axis is not contiguous.
    wide = torch.cat(inputs[:2], dim=1).transpose(0, 1).contiguous().transpose(0, 1)
    strided = [wide[:, :4], wide[:, 4:], inputs[2].transpose(1, 2).contiguous().transpose(1, 2), inputs[3]]
    for ours, other in zip(triton(strided, plan), triton(inputs, plan), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=0)


def test_head_groups_follow_their_own_pattern() -> None:
    query, key, value, sink = draw()
    patterns = [parse_pattern("sliding(9)"), PATTERN]
    plan = plan_on_device(patterns, BOUNDS, device=DEVICE)
    got = block_sparse_attention(query, key, value, plan, sink=sink)
    for group, pattern in enumerate(patterns):
        heads, kv = slice(2 * group, 2 * group + 2), slice(group, group + 1)
        parts = (tensor.double() for tensor in (query[:, heads], key[:, kv], value[:, kv]))
        assert_close(got[:, heads], reference_attention(*parts, pattern, torch.tensor(BOUNDS), sink=sink[heads]))


def test_a_host_plan_gets_its_device_plan_once() -> None:
    plan = build_plan(PATTERN, BOUNDS, 16)
    assert twin(plan, torch.device(DEVICE)) is twin(plan, torch.device(DEVICE))
    assert isinstance(twin(plan, torch.device(DEVICE)), DevicePlan)


def test_no_tokens_give_no_output() -> None:
    query, key, value, sink = draw(0)
    for pattern in (PATTERN, parse_pattern("topk(2)")):
        plan = plan_on_device(pattern, [0, 0], device=DEVICE)
        out, lse = block_sparse_attention(query, key, value, plan, sink=sink, return_lse=True)
        assert (out.shape, lse.shape) == ((0, 4, 32), (0, 4))
        out.sum().backward()


@pytest.mark.parametrize("with_sink", [True, False])
def test_opcheck_is_clean(with_sink: bool) -> None:
    query, key, value, sink = draw(70, 2, 1)
    tensors, numbers = plan_on_device(parse_pattern("sliding(9)"), [0, 30, 70], device=DEVICE).flatten()
    logit = sink if with_sink else None
    torch.library.opcheck(op.block_sparse_attention, (query, key, value, logit, [], tensors, numbers, 0.2, True))


def test_opcheck_of_the_backward_is_clean() -> None:
    query, key, value, sink = draw(70, 2, 1)
    tensors, numbers = plan_on_device(parse_pattern("sliding(9)"), [0, 30, 70], device=DEVICE).flatten()
    out, lse = op.block_sparse_attention(query, key, value, sink, [], tensors, numbers, 0.2, True)
    saved = [tensor.detach() for tensor in (torch.ones_like(out), lse, query, key, value, sink, out, lse)]
    torch.library.opcheck(
        op.block_sparse_attention_backward,
        (*saved, [], tensors, numbers, 0.2, True),
        # It has no backward of its own.
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"),
    )


def test_one_graph_without_breaks_gives_the_same_numbers() -> None:
    inputs, plan = draw(), plan_on_device(PATTERN, BOUNDS, device=DEVICE)
    compiled = torch.compile(triton, backend="aot_eager", fullgraph=True)
    got, expected = compiled(inputs, plan), triton(inputs, plan)
    upstream = [torch.randn_like(each) for each in got]
    slopes = [torch.autograd.grad(results, inputs, upstream) for results in (got, expected)]
    for ours, other in zip([*got, *slopes[0]], [*expected, *slopes[1]], strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=0)


def test_errors_say_what_the_kernels_take(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value, _ = draw()
    plan = plan_on_device(PATTERN, BOUNDS, device=DEVICE)
    for name in ("gather", "reference"):
        with pytest.raises(ValueError, match=f"plan: expected one of build_plan for implementation '{name}', got Dev"):
            block_sparse_attention(query, key, value, plan, implementation=name)
    with pytest.raises(ValueError, match="query: expected T 101, the plan's tokens, got 100"):
        block_sparse_attention(query[:100], key[:100], value[:100], plan)
    with pytest.raises(ValueError, match="query: expected D one of 32, 64, 128 for the Triton kernels, got 16"):
        block_sparse_attention(query[..., :16], key[..., :16], value[..., :16], plan)
    with pytest.raises(
        ValueError, match=r"query: expected float16 or bfloat16 for the Triton kernels, got torch\.float64"
    ):
        block_sparse_attention(query.double(), key.double(), value.double(), plan)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match="query: expected on a CUDA device for the Triton kernels, got cpu"):
        block_sparse_attention(query.cpu(), key.cpu(), value.cpu(), plan)
