import subprocess
import sys

import pytest
import torch
from torch import Tensor

from longwatch.kernels import (
    api,
    block_sparse_attention,
    build_plan,
    parse_pattern,
    plan_on_device,
    reference_attention,
)

CPU = pytest.mark.parametrize("implementation", ["auto", "reference", "gather"])


def draw(tokens: int = 12, heads: int = 4, kv_heads: int = 2, width: int = 16) -> list[Tensor]:
    torch.manual_seed(tokens)
    shapes = [(tokens, count, width) for count in (heads, kv_heads, kv_heads)]
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


@CPU
@pytest.mark.parametrize("text", ["sliding(4) | global(2)", "topk(1, block=4)"])
def test_every_implementation_gives_output_and_lse_of_the_definition(text: str, implementation: str) -> None:
    inputs, pattern, sink = draw(), parse_pattern(text), torch.tensor([-1.0, 0, 1, 2])
    plan = build_plan(pattern, [0, 9, 12], 4)
    bounds = torch.tensor([0, 9, 12])
    expected = reference_attention(*inputs, pattern, bounds, -0.4, sink=sink, return_lse=True)
    got = block_sparse_attention(*inputs, plan, -0.4, implementation, sink, return_lse=True)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(block_sparse_attention(*inputs, plan, -0.4, implementation, sink), expected[0])


@CPU
def test_head_groups_have_their_own_pattern_and_their_own_sinks(implementation: str) -> None:
    inputs, sink = draw(), torch.tensor([-1.0, 0, 1, 2])
    patterns = [parse_pattern("sliding(4)"), parse_pattern("topk(1, block=4)")]
    plan = build_plan(patterns, [0, 9, 12], 4)
    got = block_sparse_attention(*inputs, plan, implementation=implementation, sink=sink)
    for group, pattern in enumerate(patterns):
        heads, kv = slice(2 * group, 2 * group + 2), slice(group, group + 1)
        query, key, value = inputs[0][:, heads], inputs[1][:, kv], inputs[2][:, kv]
        alone = reference_attention(query, key, value, pattern, torch.tensor([0, 9, 12]), sink=sink[heads])
        torch.testing.assert_close(got[:, heads], alone)


@CPU
def test_no_tokens_give_no_output(implementation: str) -> None:
    query, key, value = draw(0)
    for text in ("dense", "topk(1, block=4)"):
        plan = build_plan(parse_pattern(text), [0, 0], 4)
        out, lse = block_sparse_attention(query, key, value, plan, implementation=implementation, return_lse=True)
        assert (out.shape, lse.shape) == ((0, 4, 16), (0, 4))


def test_errors_name_the_argument() -> None:
    query, key, value = draw()
    plan = build_plan(parse_pattern("sliding(4)"), [0, 12], 4)
    with pytest.raises(ValueError, match="auto, reference, gather, triton, int8, got 'gathr'; did you mean 'gather'"):
        block_sparse_attention(query, key, value, plan, implementation="gathr")
    with pytest.raises(ValueError, match="query: expected T 12, the plan's tokens, got 11"):
        block_sparse_attention(query[:11], key[:11], value[:11], plan)
    with pytest.raises(ValueError, match=r"key: expected shape \[12, 2, 16\]"):
        block_sparse_attention(query, key[:11], value, plan)
    with pytest.raises(ValueError, match=r"sink: expected floating \[4\], a logit per head"):
        block_sparse_attention(query, key, value, plan, sink=torch.zeros(2))
    three = build_plan([parse_pattern("sliding(4)")] * 3, [0, 12], 4)
    with pytest.raises(ValueError, match="key: expected heads that 3 pattern groups divide, got 2"):
        block_sparse_attention(query, key, value, three)
    with pytest.raises(ValueError, match="cu_seqlens: expected rising offsets from 0 to 12"):
        reference_attention(query, key, value, parse_pattern("dense"), torch.tensor([0, 11]))


def test_without_triton_the_error_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_HAS_TRITON", False)
    plan = build_plan(parse_pattern("sliding(4)"), [0, 12], 4)
    with pytest.raises(ValueError, match="'triton' needs triton, which is not installed; expected 'auto' or 'gather'"):
        block_sparse_attention(*draw(), plan, implementation="triton")
    with pytest.raises(RuntimeError, match="plan_on_device: needs triton, which is not installed; use build_plan"):
        plan_on_device(parse_pattern("sliding(4)"), [0, 12])


def test_attention_on_the_cpu_never_loads_triton() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch\n"
        "from longwatch.kernels import *\n"
        "query = torch.zeros(9, 1, 4)\n"
        "block_sparse_attention(query, query, query, build_plan(parse_pattern('sliding(4)'), [0, 9], 4))\n"
        "assert not any(name.startswith('longwatch.kernels.triton_impl') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
